"""Samples the futures that a trained critic predicts."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.agent import Agent
from floqzoo.critics.next_action import DataNextAction
from floqzoo.networks.normaliser import Normaliser
from floqzoo.successor.flow_successor import FlowSuccessor
from floqzoo.successor.forward_backward import ForwardBackward
from floqzoo.successor.intention_critic import IntentionCritic
from floqzoo.successor.intentions import IntentionSuccessor
from floqzoo.successor.successor_critic import SuccessorCritic
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class FutureModel(eqx.Module):
    r"""Samples the futures that a critic predicts, in the units of the environment.

    - For a [`SuccessorCritic`][floqzoo.successor.SuccessorCritic], futures are drawn from its measure.
    - For an [`IntentionCritic`][floqzoo.successor.IntentionCritic], they are also drawn from its measure, with a
      separate intention for each future.
    - A [`ForwardBackward`][floqzoo.successor.ForwardBackward] critic predicts densities relative to the data. Futures
      are therefore drawn from states of the data, with probabilities proportional to the positive part of the
      densities.

    Arguments:

    - `critic`: A critic of one of these classes.
    - `normaliser`: The normaliser of the agent's observations, if it has one.
    - `states`: States of the data, from which the futures of a `ForwardBackward` critic are drawn.
    - `reward_is_trained`: Whether the reward model of the critic, if it has one, has been trained.

    **Raises** `TypeError` if `critic` is of any other class.
    """

    critic: Any
    normaliser: Normaliser | None
    states: Float[np.ndarray, "states observation"]
    reward_is_trained: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        if not predicts_futures(self.critic):
            raise TypeError(f"`critic` must be based on a successor measure; got a {type(self.critic).__name__}.")

    @classmethod
    def of(cls, agent: Agent, states: Float[np.ndarray, "states observation"]) -> "FutureModel":
        """Builds the model from an agent's target critic, or from its online critic if that is a `ForwardBackward`.

        The online `ForwardBackward` is used because `infer_task` stores the task in the critic and in the policy, but
        not in the target network.
        """
        critic = agent.critic if isinstance(agent.critic, ForwardBackward) else agent.target.critic
        # Agents with phases learn rewards in the last one.
        trained = int(agent.step) > max(agent.phase_starts.values(), default=-1)
        return cls(critic, agent.normaliser, states, trained)

    @property
    def discount(self) -> float:
        """The discount of the measure."""
        critic = self.critic
        return float((critic if isinstance(critic, ForwardBackward) else critic.measure).discount.value)

    @property
    def is_of_data(self) -> bool:
        """Whether the measure describes the policy that generated the data, instead of the agent's policy."""
        flow = self._flow_successor()
        return flow is not None and isinstance(flow.next_action, DataNextAction)

    @property
    def from_current(self) -> bool:
        """Whether the measure starts at the current state instead of the next one."""
        flow = self._flow_successor()
        return flow is not None and flow.from_current

    @property
    def reward(self) -> Callable[[Observation], Scalar] | None:
        """The trained reward model, as a function of an observation in the units of the environment; None if there is
        no such model."""
        if isinstance(self.critic, ForwardBackward) or not self.reward_is_trained:
            return None
        return lambda observation: self.critic.reward.reward_of(self._normalised(observation))

    def sample(
        self, observation: Observation | np.ndarray, action: Action | np.ndarray, count: int, key: Key
    ) -> Float[np.ndarray, "count observation"]:
        """Draws `count` futures.

        **Raises** `ValueError` if a `ForwardBackward` critic's density is zero or negative at all of `states`.
        """
        state, action = jnp.asarray(observation), jnp.asarray(action)
        if not isinstance(self.critic, ForwardBackward):
            return np.asarray(_sampled(self, state, action, count, key))
        weights = np.maximum(np.asarray(_densities(self, state, action)), 0)
        if not weights.sum() > 0:
            raise ValueError(
                "the FB critic predicts no future: its density is not positive at any of the data's states."
            )
        chosen = jax.random.choice(key, len(self.states), (count,), p=jnp.asarray(weights / weights.sum()))
        return self.states[np.asarray(chosen)]

    def _flow_successor(self) -> FlowSuccessor | None:
        """The flow successor inside the critic, if there is one."""
        leaves = jax.tree.leaves(self.critic, is_leaf=lambda part: isinstance(part, FlowSuccessor))
        return next((leaf for leaf in leaves if isinstance(leaf, FlowSuccessor)), None)

    def _normalised(self, observation: Observation) -> Observation:
        return observation if self.normaliser is None else self.normaliser.normalise(observation)


def predicts_futures(critic: Any) -> bool:
    """Whether a critic is of a class that `FutureModel` supports."""
    return isinstance(critic, (SuccessorCritic, IntentionCritic, ForwardBackward))


@eqx.filter_jit
def _densities(model: FutureModel, state: Array, action: Array) -> Array:
    states = jax.vmap(model._normalised)(jnp.asarray(model.states))
    return model.critic.densities(model._normalised(state), action, states)


@eqx.filter_jit
def _sampled(model: FutureModel, state: Array, action: Array, count: int, key: Key) -> Array:
    measure, state = model.critic.measure, model._normalised(state)
    if isinstance(measure, IntentionSuccessor):
        futures = jax.vmap(lambda key: measure.sample_futures(state, action, 1, key)[0])(jax.random.split(key, count))
    else:
        futures = measure.sample_futures(state, action, count, key)
    return futures if model.normaliser is None else jax.vmap(model.normaliser.restore)(futures)
