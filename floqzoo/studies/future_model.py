"""Samples the futures that a trained critic predicts."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.agent import Agent
from floqzoo.networks.normaliser import Normaliser
from floqzoo.protocols import PredictsFutures, require_protocol
from floqzoo.records import FutureKind
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class FutureModel(eqx.Module):
    r"""Samples the futures that a critic predicts, in the units of the environment.

    - `critic`: A critic that [predicts futures][floqzoo.protocols.PredictsFutures].
    - `normaliser`: The normaliser of the agent's observations, if it has one.
    - `states`: States of the data, from which critics that only know densities choose their futures.
    - `reward_is_trained`: Whether the reward model of the critic, if it has one, has been trained.

    **Raises** `TypeError` if `critic` does not predict futures.
    """

    critic: Any
    normaliser: Normaliser | None
    states: Float[np.ndarray, "states observation"]
    reward_is_trained: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        require_protocol("critic", self.critic, PredictsFutures)

    @classmethod
    def of(cls, agent: Agent, states: Float[np.ndarray, "states observation"]) -> "FutureModel":
        """Builds the model from an agent's target critic."""
        # Agents with phases learn rewards in the last one.
        trained = int(agent.step) > max(agent.phase_starts.values(), default=-1)
        return cls(agent.target.critic, agent.normaliser, states, trained)

    @property
    def kind(self) -> FutureKind:
        """The kind of the futures."""
        return self.critic.future_kind

    @property
    def discount(self) -> float:
        """The discount of the futures."""
        return float(self.kind.discount.value)

    @property
    def reward(self) -> Callable[[Observation], Scalar] | None:
        """The trained reward model, as a function of an observation in the units of the environment; None if there is
        no such model."""
        if self.critic.reward is None or not self.reward_is_trained:
            return None
        return lambda observation: self.critic.reward.reward_of(self._normalised(observation))

    def sample(
        self, observation: Observation | np.ndarray, action: Action | np.ndarray, count: int, key: Key
    ) -> Float[np.ndarray, "count observation"]:
        """Draws `count` futures.

        **Raises** `ValueError` if a future is not finite, as those of an FB critic whose density is positive at none of
        `states`.
        """
        futures = np.asarray(_sampled(self, jnp.asarray(observation), jnp.asarray(action), count, key))
        if not np.isfinite(futures).all():
            raise ValueError(
                "the critic predicts futures that are not finite: its training diverged, or it is an FB critic whose "
                "density is positive at none of the data's states."
            )
        return futures

    def _normalised(self, observation: Observation) -> Observation:
        return observation if self.normaliser is None else self.normaliser.normalise(observation)


@eqx.filter_jit
def _sampled(model: FutureModel, state: Array, action: Array, count: int, key: Key) -> Array:
    states = jax.vmap(model._normalised)(jnp.asarray(model.states))
    futures = model.critic.predict_futures(model._normalised(state), action, states, count, key)
    return futures if model.normaliser is None else jax.vmap(model.normaliser.restore)(futures)
