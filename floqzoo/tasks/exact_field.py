"""The velocity field that a network should find."""

import equinox as eqx
from jaxtyping import Array, Float

from floqzoo.flow.path import AffinePath
from floqzoo.tasks.linear_gaussian import LinearGaussian
from floqzoo.typing import Action, Observation, Point, Time


class ExactField(eqx.Module):
    """The velocity field of a chain's own successor measure, where no network could be better.

    - `chain`: The chain.
    - `path`: From standard noise to the measure.
    """

    chain: LinearGaussian
    path: AffinePath

    def encode(self, *condition: Float[Array, " _"]) -> tuple[Observation, Action]:
        """Observation and action, which the condition must be."""
        observation, action = condition
        return observation, action

    def velocity(self, t: Time, x: Point, code: tuple[Observation, Action]) -> Point:
        """The marginal velocity."""
        return self.chain.marginal_velocity(self.path, t, x, *code)
