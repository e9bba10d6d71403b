"""A policy that is given, and learns no more."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from floqzoo.hyperparameter import Hyperparameter, partition_trainable
from floqzoo.protocols import Critic, Policy
from floqzoo.records import Transition
from floqzoo.typing import Action, Key, Observation, Scalar


class FixedPolicy(eqx.Module):
    """Acts as a trained policy does, whose parameters no optimiser touches, not even to decay them.

    - `policy`: Any policy.
    """

    parameters: PyTree
    rest: PyTree

    def __init__(self, policy: Policy):
        trainable, self.rest = partition_trainable(policy)
        self.parameters = jax.tree.map(Hyperparameter, trainable)

    @property
    def policy(self) -> Policy:
        """The policy itself."""
        values = jax.tree.map(
            lambda leaf: leaf.value, self.parameters, is_leaf=lambda node: isinstance(node, Hyperparameter)
        )
        return eqx.combine(values, self.rest)

    def act(self, observation: Observation, key: Key) -> Action:
        """What the policy does."""
        return self.policy.act(observation, key)

    def policy_loss(self, batch: Transition, critic: Critic, key: Key) -> tuple[Scalar, None]:
        """0, and no metrics."""
        del batch, critic, key
        return jnp.zeros(()), None
