"""The null critic, for agents that learn by behaviour cloning."""

import equinox as eqx
import jax.numpy as jnp

from floqzoo.records import FrozenAgent, Transition
from floqzoo.typing import Action, Key, Observation, Scalar


class NullCritic(eqx.Module):
    """A critic without parameters whose value is always 0, for agents that learn by behaviour cloning."""

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns Q = 0 for any observation and action."""
        del observation, action
        return jnp.zeros(())

    def advantage(self, observation: Observation, action: Action) -> Scalar:
        """Returns an advantage of 0, with which an `AWRPolicy` reduces to behaviour cloning."""
        return self.score(observation, action)

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, None]:
        """Returns a loss of 0, and no metrics."""
        del batch, agent, key
        return jnp.zeros(()), None
