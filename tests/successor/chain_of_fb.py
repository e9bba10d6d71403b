"""A finite MDP whose transitions are listed, and forward-backward representations that are tables over it."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import floqzoo as fz


@dataclass(frozen=True)
class Listed:
    """S states, two actions (-1 and 1), and K next states for each, all transitions alike often.

    Observations are the rows of the identity matrix. Everything is exact: the empirical MDP is the MDP.
    """

    next_states: np.ndarray  # (S, 2, K)
    discount: float

    @staticmethod
    def random(seed, states=4, outcomes=2, discount=0.8):
        """Every state is the next state of some transition."""
        draw = np.random.default_rng(seed)
        table = draw.integers(0, states, (states, 2, outcomes))
        table[:, 0, 0] = draw.permutation(states)
        return Listed(table, discount)

    @property
    def states(self):
        return len(self.next_states)

    @property
    def arrivals(self):
        """The next state of each transition, in the order of `batch`."""
        return self.next_states.reshape(-1)

    @property
    def share(self):
        """The distribution of next states in the data."""
        return np.bincount(self.arrivals, minlength=self.states) / self.arrivals.size

    def batch(self, discount=1.0):
        """All transitions."""
        s, a, k = np.indices(self.next_states.shape).reshape(3, -1)
        del k
        one = np.eye(self.states)
        numbers = {
            "observation": one[s],
            "action": (2.0 * a - 1)[:, None],
            "reward": np.zeros(len(s)),
            "discount": np.full(len(s), discount),
            "next_observation": one[self.arrivals],
        }
        return fz.Transition(**{name: jnp.asarray(array, dtype=float) for name, array in numbers.items()})

    @property
    def transition(self):
        """P(s' | s, a), (S, 2, S)."""
        return np.eye(self.states)[self.next_states].mean(axis=2)

    def measure(self, actions):
        """The sum over k of gamma^k P(s_{k+1}) for the policy that takes action number `actions[s]` in s, (S, 2, S)."""
        p = self.transition
        of_policy = p[np.arange(self.states), actions]
        return p @ np.linalg.inv(np.eye(self.states) - self.discount * of_policy)

    def q(self, actions, reward):
        """The value of a reward for each state that is entered, (S, 2), by backups until nothing changes."""
        q = np.zeros((self.states, 2))
        for _ in range(400):
            q = self.transition @ (reward + self.discount * q[np.arange(self.states), actions])
        return q


class ForwardTable(eqx.Module):
    """F(s, a, z) from a table, for the nearest of some z."""

    table: jax.Array  # (Z, S, 2, d)
    known: fz.Hyperparameter  # (Z, d)

    def __call__(self, with_latent, with_action):
        states = self.table.shape[1]
        z = jnp.argmax(self.known.value @ with_latent[states:])
        row = jnp.tensordot(with_action[:states], self.table[z], 1)
        return jnp.where(with_action[-1] > 0, row[1], row[0])


class BackwardTable(eqx.Module):
    """B(s) from a table."""

    table: jax.Array  # (S, d)

    def __call__(self, observation):
        return observation @ self.table


class TablePolicy(eqx.Module):
    """An action for each state, for the nearest of some z."""

    actions: fz.Hyperparameter  # (Z, S), 0 or 1
    known: fz.Hyperparameter  # (Z, d)
    latent: fz.Hyperparameter

    def act_for(self, observation, latent):
        return 2 * self.actions.value[jnp.argmax(self.known.value @ latent)] @ observation[:, None] - 1.0

    def act(self, observation, critic, key):
        return self.act_for(observation, self.latent.value)

    def policy_loss(self, batch, agent, key):
        return jnp.zeros(()), None


class TheseLatents(eqx.Module):
    """Gives a batch the z that it holds."""

    given: fz.Hyperparameter  # (batch, d)

    def draws(self, batch_size, dim, key):
        return None

    def latents(self, goals, draws):
        return self.given.value


@dataclass(frozen=True)
class Exact:
    """Representations of the exact measures of some policies, one for each of some rewards."""

    mdp: Listed
    actions: np.ndarray  # (Z, S)
    rewards: np.ndarray  # (Z, S)
    forward: np.ndarray  # (Z, S, 2, d)
    backward: np.ndarray  # (S, d), on the sphere

    @staticmethod
    def random(seed, latents=2, **mdp):
        """Random rows of B, of full rank; F follows from them."""
        draw = np.random.default_rng(1000 + seed)
        chain = Listed.random(seed, **mdp)
        size = chain.states
        backward = np.linalg.qr(draw.normal(size=(size, size)))[0] + 0.3 * draw.normal(size=(size, size)) / size
        backward *= np.sqrt(size) / np.linalg.norm(backward, axis=1, keepdims=True)
        actions = draw.integers(0, 2, (latents, size))
        densities = np.stack([chain.measure(row) / chain.share for row in actions])
        forward = densities @ np.linalg.inv(backward.T)
        return Exact(chain, actions, draw.normal(size=(latents, size)), forward, backward)

    @property
    def latents(self):
        """z of each reward."""
        w = self.rewards[:, self.mdp.arrivals] @ self.backward[self.mdp.arrivals] / self.mdp.arrivals.size
        return np.sqrt(w.shape[1]) * w / np.linalg.norm(w, axis=1, keepdims=True)

    def agent(self, forward=None, backward=None, **parts):
        """The agent of two members with these tables, or others."""
        known, no_task = fz.Hyperparameter(jnp.asarray(self.latents)), np.zeros(self.backward.shape[1])
        table = jnp.asarray(self.forward if forward is None else forward)
        members = ForwardTable(jnp.stack([table] * 2), fz.Hyperparameter(jnp.stack([known.stored] * 2)))
        # Not the defaults, which have the dtype of the session at import.
        parts = {
            "discount": self.mdp.discount,
            "noise": fz.SmoothingNoise(0.0, 0.0),
            "latents": fz.LatentMixture(0.5),
            **parts,
        }
        critic = fz.ForwardBackward(
            fz.Ensemble(members, 2),
            BackwardTable(jnp.asarray(self.backward if backward is None else backward)),
            no_task,
            **parts,
        )
        policy = TablePolicy(
            fz.Hyperparameter(jnp.asarray(self.actions, dtype=float)), known, fz.Hyperparameter(no_task)
        )
        return fz.Agent(critic=critic, policy=policy)
