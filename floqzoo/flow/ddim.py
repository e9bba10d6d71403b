"""DDIM, a sampler for diffusion models, as an ODE solver."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp

from floqzoo.flow.fixed_step import FixedStepSolver
from floqzoo.flow.path import AffinePath, VariancePreservingPath
from floqzoo.typing import Point, Time, Velocity


class DDIM(FixedStepSolver):
    r"""The deterministic DDIM sampler, in which each step follows a conditional path: $x_{t + \Delta t} =
    \alpha_{t + \Delta t} \hat x_1 + \beta_{t + \Delta t} \hat x_0$.

    Here $\hat x_0$ and $\hat x_1$ are the noise and the data predicted from $x_t$ and the velocity at that point. A
    step is exact if these predictions are constant along the trajectory; for the linear path, it is an Euler step. The
    velocity is not evaluated at the end of a solve, where the velocity of a diffusion model may be singular. The method
    has order 1 and evaluates the velocity once per step.

    - `num_steps`, `unroll`: As in [`Euler`][floqzoo.flow.fixed_step.Euler]. TD-Flow bootstraps its diffusion models
      with 20 steps.
    - `path`: The probability path that the field was trained on.

    Source: DDIM (arXiv 2010.02502), $\eta = 0$, with time steps of equal length.
    """

    num_steps: int = eqx.field(static=True, default=20)
    path: AffinePath = VariancePreservingPath()
    unroll: bool = eqx.field(static=True, default=False)
    evaluations_per_step: ClassVar[int] = 1
    order: ClassVar[int] = 1

    def step(self, velocity: Velocity, t: Time, dt: Time, x: Point) -> Point:
        """Takes one step with the velocity at its start."""
        ends = self.path.ends_of(t, x, velocity(t, x))
        # Rounding must not move the last step past the end, where the path may be undefined.
        return self.path.at(jnp.minimum(t + dt, 1), ends.x0, ends.x1).x
