"""Whose successor measure is learnt: where the action at the next state comes from."""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from floqzoo.protocols import Policy
from floqzoo.records import FutureTransition, Transition
from floqzoo.typing import Key


class FromPolicy(eqx.Module):
    """The agent's policy acts: the measure is that policy's, whatever the data's."""

    def next_actions(self, batch: Transition, policy: Policy, key: Key) -> Float[Array, "batch action"]:
        """What the policy does at each next observation.

        **Raises** `ValueError` if its actions have another shape than the data's.
        """
        keys = jax.random.split(key, batch.action.shape[0])
        actions = jax.vmap(policy.act)(batch.next_observation, keys)
        if actions.shape != batch.action.shape:
            raise ValueError(
                f"the policy must give actions of shape {batch.action.shape[1:]}, as the data has them; "
                f"got {actions.shape[1:]}."
            )
        return actions


class FromData(eqx.Module):
    """The data's own next action: the measure is the behaviour's. The batch must hold it (`FutureTransition`)."""

    def next_actions(self, batch: Transition, policy: Policy, key: Key) -> Float[Array, "batch action"]:
        """The recorded actions.

        **Raises** `TypeError` if the batch has none.
        """
        del policy, key
        if not isinstance(batch, FutureTransition):
            raise TypeError(
                f"FromData needs a batch of FutureTransition, which has next actions; got {type(batch).__name__}."
            )
        return batch.next_action
