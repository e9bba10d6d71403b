"""Sources of the next action in TD targets."""

import equinox as eqx
import jax
from jaxtyping import Float

from floqzoo.records import FrozenAgent, Transition
from floqzoo.typing import Array, Key


class PolicyNextAction(eqx.Module):
    """Draws next actions from the agent's policy (with the online critic), to learn the policy's returns or successor
    measure."""

    def next_actions(self, batch: Transition, agent: FrozenAgent, key: Key) -> Float[Array, "batch action"]:
        """An action of the policy at each next observation.

        **Raises** `ValueError` if the policy's actions do not have the shape of those in the data.
        """
        keys = jax.random.split(key, batch.action.shape[0])
        actions = jax.vmap(agent.act)(batch.next_observation, keys)
        if actions.shape != batch.action.shape:
            raise ValueError(
                f"the policy must return actions of shape {batch.action.shape[1:]}, as in the data; "
                f"got {actions.shape[1:]}."
            )
        return actions


class DataNextAction(eqx.Module):
    """Uses the next actions recorded in the data, to learn returns or successor measures of the behaviour policy.

    The batch must contain `next_action`.
    """

    def next_actions(self, batch: Transition, agent: FrozenAgent, key: Key) -> Float[Array, "batch action"]:
        """The recorded actions.

        **Raises** `ValueError` if the batch has no next actions.
        """
        del agent, key
        return batch.require("next_action", "DataNextAction")
