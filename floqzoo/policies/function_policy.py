"""A function of the observation as a policy."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from floqzoo.protocols import Critic
from floqzoo.records import FrozenAgent, Transition
from floqzoo.typing import Action, Key, Observation, Scalar


class FunctionPolicy(eqx.Module):
    """Acts with a given function, and has no trainable parameters.

    - `function`: A function or module from an observation to an action. The parameters of a module are not trained, but
      weight decay would shrink them; wrap the policy in a `FixedPolicy` in that case.
    """

    function: Callable[[Any], Any]

    def act(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """The value of the function."""
        del critic, key
        return self.function(observation)

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, None]:
        """A loss of 0, and no metrics."""
        del batch, agent, key
        return jnp.zeros(()), None
