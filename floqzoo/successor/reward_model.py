"""Reward models: functions of the state that are given, or learnt from data."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from floqzoo.protocols import Network, RewardModel
from floqzoo.records import Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Observation, Scalar


class KnownReward(eqx.Module):
    """A reward that is a given function of the observation.

    - `function`: A function from an observation to a scalar.
    """

    function: Callable[[Any], Any]

    def reward_of(self, observation: Observation) -> Scalar:
        """Returns the reward of an observation.

        **Raises** `ValueError` if the function does not return a scalar.
        """
        reward = jnp.asarray(self.function(observation), dtype=float)
        if reward.shape != ():
            raise ValueError(
                f"the reward function must return one number for an observation of shape {observation.shape}; "
                f"got shape {reward.shape}."
            )
        return reward

    def reward_loss(self, batch: Transition) -> Scalar:
        """Returns a loss of 0, because there are no parameters to train."""
        del batch
        return jnp.zeros(())


class LearntReward(eqx.Module):
    r"""A reward model learnt by regression on the rewards in the data, with loss $\frac1B \sum (\hat r(x) - r)^2$.

    - `network`: The network $\hat r$, which maps an observation to one number.
    - `of_next`: Whether rewards in the data are functions of the next state ("post" in `floqzoo.tasks.load`). If False,
      they are functions of the current state ("pre", as in OGBench).
    """

    network: Network
    of_next: bool = eqx.field(static=True, default=False)

    def reward_of(self, observation: Observation) -> Scalar:
        """Returns the estimated reward of an observation."""
        return self.network(observation)[0]

    @update_step("reward")
    def reward_loss(self, batch: Transition) -> Scalar:
        """Returns the mean squared error on a batch."""
        states = batch.next_observation if self.of_next else batch.observation
        return jnp.mean((jax.vmap(self.reward_of)(states) - batch.reward) ** 2)


def reward_model(reward: Any) -> RewardModel:
    """Wraps a function in a `KnownReward`; a reward model is returned unchanged."""
    return reward if isinstance(reward, RewardModel) else KnownReward(reward)
