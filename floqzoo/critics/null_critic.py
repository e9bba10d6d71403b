"""The null critic, for behaviour cloning."""

import equinox as eqx
import jax.numpy as jnp

from floqzoo.records import FrozenAgent, Transition
from floqzoo.typing import Action, Key, Observation, Scalar


class NullCritic(eqx.Module):
    """A critic without parameters, whose value is always 0: for behaviour cloning."""

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Q = 0 for every observation and action."""
        del observation, action
        return jnp.zeros(())

    def advantage(self, observation: Observation, action: Action) -> Scalar:
        """An advantage of 0, for which an `AWRPolicy` reduces to behaviour cloning."""
        return self.score(observation, action)

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, None]:
        """A loss of 0, and no metrics."""
        del batch, agent, key
        return jnp.zeros(()), None
