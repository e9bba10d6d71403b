"""Where the action at the next state comes from."""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from floqzoo.records import FrozenAgent, Transition
from floqzoo.typing import Key


class PolicyNextAction(eqx.Module):
    """The agent's policy acts, with the online critic: returns and successor measures are those of the policy."""

    def next_actions(self, batch: Transition, agent: FrozenAgent, key: Key) -> Float[Array, "batch action"]:
        """An action of the policy at each next observation.

        **Raises** `ValueError` if its actions have another shape than the data's.
        """
        keys = jax.random.split(key, batch.action.shape[0])
        actions = jax.vmap(agent.act)(batch.next_observation, keys)
        if actions.shape != batch.action.shape:
            raise ValueError(
                f"the policy must give actions of shape {batch.action.shape[1:]}, as the data has them; "
                f"got {actions.shape[1:]}."
            )
        return actions


class DataNextAction(eqx.Module):
    """The next action of the data: returns and successor measures are those of the behaviour.

    The batch must hold `next_action`.
    """

    def next_actions(self, batch: Transition, agent: FrozenAgent, key: Key) -> Float[Array, "batch action"]:
        """The recorded actions.

        **Raises** `ValueError` if the batch has none.
        """
        del agent, key
        return batch.require("next_action", "DataNextAction")
