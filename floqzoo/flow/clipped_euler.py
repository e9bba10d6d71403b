"""Euler's method with clipping, for flows whose points have a known range."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp

from floqzoo.flow.fixed_step import FixedStepSolver
from floqzoo.flow.return_range import return_range
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require_ordered
from floqzoo.typing import Point, Time, Velocity


class ClippedEuler(FixedStepSolver):
    r"""Euler's method with clipping, $\operatorname{clip}(x + \Delta t \, v(t, x), \text{low}, \text{high})$.

    The result of every step is clipped to the range, so only the initial point may lie outside it. The method has order
    1 and evaluates the velocity once per step.

    - `num_steps`, `unroll`: As in [`Euler`][floqzoo.flow.fixed_step.Euler].
    - `low`, `high`: The range of each coordinate, with low < high.

    Source: the official code of Value Flows (arXiv 2510.07650), which clips returns in this way.
    """

    num_steps: int = eqx.field(static=True)
    low: Hyperparameter = eqx.field(converter=hyperparameter)
    high: Hyperparameter = eqx.field(converter=hyperparameter)
    unroll: bool = eqx.field(static=True, default=False)
    evaluations_per_step: ClassVar[int] = 1
    order: ClassVar[int] = 1

    def __check_init__(self):
        require_ordered(self.low, self.high)

    @staticmethod
    def from_rewards(reward_range: tuple[float, float], discount: float, num_steps: int = 10) -> "ClippedEuler":
        r"""Creates a solver that clips to the range of discounted returns, $[r_{\min}, r_{\max}] / (1 - \gamma)$.

        - `reward_range`: The minimum and the maximum reward of the dataset.
        - `discount`: $\gamma$ in [0, 1).
        - `num_steps`: The number K of steps, at least 1.

        **Raises** `ValueError` if the minimum reward is not below the maximum, or an argument is out of range.
        """
        low, high = return_range(reward_range, discount, "give the range itself, `ClippedEuler(num_steps, low, high)`")
        return ClippedEuler(num_steps, low=low, high=high)

    def step(self, velocity: Velocity, t: Time, dt: Time, x: Point) -> Point:
        """Takes one step with the velocity at its start, and clips the result."""
        return jnp.clip(x + dt * velocity(t, x), self.low.value, self.high.value)
