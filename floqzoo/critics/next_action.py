"""Sources of the next action, which TD targets need."""

import equinox as eqx
import jax
from jaxtyping import Float

from floqzoo.records import FrozenAgent, Transition
from floqzoo.typing import Array, Key


class PolicyNextAction(eqx.Module):
    """Draws next actions from the agent's policy, to learn the returns or the successor measure of that policy.

    A policy that needs a critic, such as best-of-N, uses the online critic.
    """

    def next_actions(self, batch: Transition, agent: FrozenAgent, key: Key) -> Float[Array, "batch action"]:
        """Draws an action from the policy at each next observation.

        **Raises** `ValueError` if the actions of the policy have a different shape from those in the data.
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
        """Returns the recorded next actions.

        **Raises** `ValueError` if the batch has no next actions.
        """
        del agent, key
        return batch.require("next_action", "DataNextAction")
