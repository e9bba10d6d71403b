"""Parts whose answers are known in closed form, and batches to try them on."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import floqzoo as fz


OBSERVATION, ACTION = 3, 2


class LinearReturn(eqx.Module):
    """The velocity field whose flow ends in `weight . (s, a) + bias + spread * noise`, by any number of Euler steps.

    Each path is a straight line crossed at constant speed. With `spread` 0 all noise ends in one point.
    """

    weight: jax.Array
    bias: jax.Array
    spread: jax.Array

    def encode(self, *condition):
        return (jnp.concatenate(condition) @ self.weight + self.bias)[None]

    def velocity(self, t, x, code):
        noise = (x - t * code) / (1 - t + t * self.spread)
        return code + (self.spread - 1) * noise


class LinearNetwork(eqx.Module):
    """A network that is its first layer alone."""

    stem: fz.Dense

    def __init__(self, in_features, out_features, *, key):
        self.stem = fz.Dense(in_features, out_features, key=key)

    def __call__(self, x):
        return self.body(self.stem(x))

    def body(self, hidden):
        return hidden


class RandomPolicy(eqx.Module):
    """Uniform actions, and nothing to learn."""

    def act(self, observation, critic, key):
        return jax.random.uniform(key, (ACTION,), observation.dtype, -1, 1)

    def policy_loss(self, batch, agent, key):
        return jnp.zeros(()), None


class SteadyPolicy(eqx.Module):
    """An action that depends on the observation alone, the hyperbolic tangent of its first coordinates."""

    def act(self, observation, critic, key):
        return jnp.tanh(observation[:ACTION])

    def policy_loss(self, batch, agent, key):
        return jnp.zeros(()), None


class AlternatingPrior(eqx.Module):
    """Draws -1 and 1 by turns along the copies: a law of mean 0 and variance 1 whose samples have just these."""

    def sample(self, key, shape):
        signs = jnp.where(jnp.arange(shape[1]) % 2 == 0, -1.0, 1.0)
        return jnp.broadcast_to(signs[None, :, None], shape)

    def log_prob(self, x):
        return jnp.zeros(())


def frozen_agent(critic, policy=None, target=None):
    """What a loss sees of an agent: its parts, and a target critic, which is the critic itself unless given."""
    target = fz.ActorCritic(critic if target is None else target, policy)
    return fz.FrozenAgent(critic, policy, target, jnp.zeros((), jnp.int32))


def linear_fields(weight, bias, spread):
    """An ensemble of `LinearReturn`, one for each entry of `bias`."""
    return fz.Ensemble(LinearReturn(*map(jnp.asarray, (weight, bias, spread))), len(bias))


def linear_q(weight, bias):
    """A `QEnsemble` of linear functions of observation and action, one for each entry of `bias`."""
    ensemble = fz.QEnsemble(OBSERVATION, ACTION, size=len(bias), build=LinearNetwork, key=jax.random.key(0))
    return eqx.tree_at(
        lambda ensemble: (ensemble.networks.members.stem.weight, ensemble.networks.members.stem.bias),
        ensemble,
        (jnp.asarray(weight)[:, :, None], jnp.asarray(bias)[:, None]),
    )


def transitions(seed=0, size=4, observation=OBSERVATION, action=ACTION):
    """A batch of random transitions, of which every third ends its episode."""
    draw = np.random.default_rng(seed)

    def floating(values):
        return jnp.asarray(values, dtype=float)

    return fz.Transition(
        observation=floating(draw.normal(size=(size, observation))),
        action=floating(draw.uniform(-1, 1, (size, action))),
        reward=floating(draw.uniform(-1, 0, size)),
        discount=floating(np.arange(size) % 3 != 2),
        next_observation=floating(draw.normal(size=(size, observation))),
    )


def leaves_by_path(tree):
    """The floating arrays of a tree, hyperparameters included, each under the path to it."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_inexact_array))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
