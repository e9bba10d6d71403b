"""A policy given by a function of the observation."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from floqzoo.protocols import Critic
from floqzoo.records import FrozenAgent, Transition
from floqzoo.typing import Action, Key, Observation, Scalar


class FunctionPolicy(eqx.Module):
    """A policy that computes its action with a given function, which is not trained.

    - `function`: A function or module that maps an observation to an action. The parameters of a module get no
      gradient, but an optimiser with weight decay would still shrink them; wrap the policy in a `FixedPolicy` in that
      case.
    """

    function: Callable[[Any], Any]

    def act(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Returns the output of the function for an observation; the critic and the key are not used."""
        del critic, key
        return self.function(observation)

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, None]:
        """Returns a loss of 0, and None in place of metrics."""
        del batch, agent, key
        return jnp.zeros(()), None
