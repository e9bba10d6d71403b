"""A trained policy with fixed parameters."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from floqzoo.hyperparameter import Hyperparameter, partition_trainable
from floqzoo.networks.normaliser import Normaliser
from floqzoo.protocols import Critic, Policy
from floqzoo.records import ActorCritic, FrozenAgent, Transition
from floqzoo.typing import Action, Key, Observation, Scalar


class FixedPolicy(eqx.Module):
    """Wraps a trained policy and keeps its parameters fixed: no optimiser updates them, not even by weight decay.

    - `policy`: Any policy.
    - `critic`: The critic that is passed to the policy, for policies that need one, such as best-of-N. If it is None,
      the critic of the agent is passed.
    - `normaliser`: The normaliser of the agent with which the policy was trained, applied to observations before the
      policy acts; None if the agent had no normaliser.
    """

    parameters: PyTree
    rest: PyTree

    def __init__(self, policy: Policy | Any, critic: Critic | Any = None, normaliser: Normaliser | None = None):
        trainable, self.rest = partition_trainable(ActorCritic(critic, policy, normaliser))
        self.parameters = jax.tree.map(Hyperparameter, trainable)

    @property
    def parts(self) -> ActorCritic:
        """The policy, its critic and its normaliser; the critic and the normaliser may be None."""
        values = jax.tree.map(
            lambda leaf: leaf.value, self.parameters, is_leaf=lambda node: isinstance(node, Hyperparameter)
        )
        return eqx.combine(values, self.rest)

    def act(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Draws an action from the fixed policy."""
        own = self.parts
        return own.policy.act(own.normalised(observation), critic if own.critic is None else own.critic, key)

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, None]:
        """Returns a loss of 0, and None in place of metrics."""
        del batch, agent, key
        return jnp.zeros(()), None
