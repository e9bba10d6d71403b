"""Gaussian policies with unit variance."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from floqzoo.policies.policy_with_mode import PolicyWithMode
from floqzoo.protocols import Critic, Network
from floqzoo.records import FrozenAgent, Transition
from floqzoo.typing import Action, Key, Observation, Scalar


class CloningMetrics(eqx.Module):
    """The metrics of behaviour cloning on a batch.

    - `actor_loss`: Minus the mean log-density.
    - `bc_log_prob`: The mean log-density of the data's actions.
    - `mse`: Squared distance of the policy's mean from the data's actions, averaged over coordinates.
    """

    actor_loss: Scalar
    bc_log_prob: Scalar
    mse: Scalar


class UnitGaussianPolicy(PolicyWithMode):
    r"""A policy $\pi(\cdot \mid s) = N(f(s), I)$: the base class of policies with different losses.

    It acts with its mean, and explores with samples, both clipped to [-1, 1].

    - `network`: $f$, from an observation to the mean of an action.
    """

    network: Network | Any

    def mode(self, observation: Observation) -> Action:
        """The mean of the policy, clipped."""
        return jnp.clip(self.network(observation), -1, 1)

    def explore(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Draws a sample, clipped; the critic is not used."""
        del critic
        mean = self.network(observation)
        return jnp.clip(mean + jax.random.normal(key, mean.shape, mean.dtype), -1, 1)

    def log_prob(self, action: Action, observation: Observation) -> Scalar:
        """The log-density of an action under the Gaussian, without clipping."""
        error = action - self.network(observation)
        return -jnp.sum(error**2 + jnp.log(2 * jnp.pi)) / 2

    def cloning_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, CloningMetrics]:
        """Minus the log-density of the data's actions, averaged over the batch; agent and key are not used.

        It can be the policy loss of a [`JointUpdate`][floqzoo.update_rules.JointUpdate] in a phase without rewards.
        """
        del agent, key
        log_prob = jax.vmap(self.log_prob)(batch.action, batch.observation)
        loss = -jnp.mean(batch.counted(log_prob))
        return loss, CloningMetrics(loss, jnp.mean(log_prob), self.mean_squared_error(batch))

    def mean_squared_error(self, batch: Transition) -> Scalar:
        """The squared distance of the mean from the data's actions, averaged over coordinates and batch."""
        return jnp.mean((jax.vmap(self.network)(batch.observation) - batch.action) ** 2)
