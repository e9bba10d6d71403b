"""The critic of an agent that only imitates."""

import equinox as eqx
import jax.numpy as jnp

from floqzoo.protocols import Policy
from floqzoo.records import Transition
from floqzoo.typing import Action, Key, Observation, Scalar


class NoCritic(eqx.Module):
    """A critic without an opinion: every value is 0, and there is nothing to learn. For behaviour cloning."""

    def value(self, observation: Observation, action: Action, key: Key) -> Scalar:
        """0."""
        del observation, action, key
        return jnp.zeros(())

    def score(self, observation: Observation, action: Action) -> Scalar:
        """0."""
        del observation, action
        return jnp.zeros(())

    def critic_loss(self, batch: Transition, target: "NoCritic", policy: Policy, key: Key) -> tuple[Scalar, None]:
        """0, and no metrics."""
        del batch, target, policy, key
        return jnp.zeros(()), None
