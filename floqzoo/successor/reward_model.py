"""Reward functions of states: given, or learnt from the data."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from floqzoo.protocols import Network, RewardModel
from floqzoo.records import Transition
from floqzoo.typing import Observation, Scalar


class KnownReward(eqx.Module):
    """A reward that is a given function of the observation.

    - `function`: A function from an observation to a scalar.
    """

    function: Callable[[Any], Any]

    def reward_of(self, observation: Observation) -> Scalar:
        """The output of the function.

        **Raises** `ValueError` if the output is not a scalar.
        """
        reward = jnp.asarray(self.function(observation), dtype=float)
        if reward.shape != ():
            raise ValueError(
                f"the reward function must return one number for an observation of shape {observation.shape}; "
                f"got shape {reward.shape}."
            )
        return reward

    def reward_loss(self, batch: Transition) -> Scalar:
        """Returns a loss of 0, since there are no parameters."""
        del batch
        return jnp.zeros(())


class LearntReward(eqx.Module):
    r"""A reward learnt by regression on the rewards of the data, $\frac1B \sum (\hat r(x) - r)^2$.

    - `network`: $\hat r$, from an observation to one number.
    - `of_next`: Whether the rewards of the data are functions of the next state ("post" in `floqzoo.tasks.load`) or of
      the current state ("pre", as in OGBench).
    """

    network: Network
    of_next: bool = eqx.field(static=True, default=False)

    def reward_of(self, observation: Observation) -> Scalar:
        """The estimated reward."""
        return self.network(observation)[0]

    def reward_loss(self, batch: Transition) -> Scalar:
        """The mean squared error."""
        states = batch.next_observation if self.of_next else batch.observation
        return jnp.mean((jax.vmap(self.reward_of)(states) - batch.reward) ** 2)


def reward_model(reward: Any) -> RewardModel:
    """Converts a function to a `KnownReward`; an argument that is already a reward model is returned unchanged."""
    return reward if isinstance(reward, RewardModel) else KnownReward(reward)
