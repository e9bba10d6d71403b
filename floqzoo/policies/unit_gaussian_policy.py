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

    - `actor_loss`: The loss: minus the mean log-density of the data's actions.
    - `bc_log_prob`: The mean log-density of the data's actions.
    - `mse`: The squared distance between the policy's mean and the data's actions, averaged over coordinates.
    """

    actor_loss: Scalar
    bc_log_prob: Scalar
    mse: Scalar


class UnitGaussianPolicy(PolicyWithMode):
    r"""A Gaussian policy $\pi(\cdot \mid s) = N(f(s), I)$; subclasses define how it is trained.

    The policy acts with its mean and explores with samples; both are clipped to [-1, 1].

    - `network`: The network $f$, which maps an observation to the mean of the action.
    """

    network: Network | Any

    def mode(self, observation: Observation) -> Action:
        """Returns the mean of the policy, clipped to [-1, 1]."""
        return jnp.clip(self.network(observation), -1, 1)

    def explore(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Draws an action from the policy and clips it to [-1, 1]; the critic is not used."""
        del critic
        mean = self.network(observation)
        return jnp.clip(mean + jax.random.normal(key, mean.shape, mean.dtype), -1, 1)

    def log_prob(self, action: Action, observation: Observation) -> Scalar:
        """Returns the log-density of an action under the Gaussian, without clipping."""
        error = action - self.network(observation)
        return -jnp.sum(error**2 + jnp.log(2 * jnp.pi)) / 2

    def cloning_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, CloningMetrics]:
        """Returns the behaviour-cloning loss and its metrics; the agent and the key are not used.

        The loss is minus the log-density of the data's actions, averaged over the batch. It can be used as the policy
        loss of a [`JointUpdate`][floqzoo.update_rules.JointUpdate] in a training phase without rewards.
        """
        del agent, key
        log_prob = jax.vmap(self.log_prob)(batch.action, batch.observation)
        loss = -jnp.mean(batch.counted(log_prob))
        return loss, CloningMetrics(loss, jnp.mean(log_prob), self.mean_squared_error(batch))

    def mean_squared_error(self, batch: Transition) -> Scalar:
        """Returns the squared distance between the mean and the data's actions, averaged over batch and coordinates."""
        return jnp.mean((jax.vmap(self.network)(batch.observation) - batch.action) ** 2)
