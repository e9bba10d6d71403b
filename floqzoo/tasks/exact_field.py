"""The exact velocity field of the linear-Gaussian chain."""

import equinox as eqx

from floqzoo.flow.path import AffinePath
from floqzoo.tasks.linear_gaussian import LinearGaussian
from floqzoo.typing import Action, Condition, Observation, Point, Time


class ExactField(eqx.Module):
    """The exact velocity field of a chain's successor measure: the field that minimises the flow-matching loss.

    - `chain`: The linear-Gaussian chain.
    - `path`: The probability path from standard Gaussian noise to the successor measure.
    """

    chain: LinearGaussian
    path: AffinePath

    def encode(self, *condition: Condition) -> tuple[Observation, Action]:
        """Returns the condition unchanged: an observation and an action."""
        observation, action = condition
        return observation, action

    def velocity(self, t: Time, x: Point, code: tuple[Observation, Action]) -> Point:
        """Returns the marginal velocity at time `t` and point `x`."""
        return self.chain.marginal_velocity(self.path, t, x, *code)
