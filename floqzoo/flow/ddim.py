"""DDIM, the sampler of diffusion models, as an ODE solver."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp

from floqzoo.flow.fixed_step import FixedStepSolver
from floqzoo.flow.path import AffinePath, VariancePreservingPath
from floqzoo.typing import Point, Time, Velocity


class DDIM(FixedStepSolver):
    r"""The deterministic DDIM sampler, each step of which follows a conditional path: $x_{t + \Delta t} =
    \alpha_{t + \Delta t} \hat x_1 + \beta_{t + \Delta t} \hat x_0$.

    $\hat x_0$ and $\hat x_1$ are the noise and the data predicted from the point and its velocity. A step is exact if
    these are constant along the trajectory, and is an Euler step for the linear path. It does not evaluate the velocity
    at the end of its interval, where the velocity of a diffusion may be singular. Order 1, one evaluation per step.

    - `num_steps`, `unroll`: As in [`Euler`][floqzoo.flow.fixed_step.Euler]. TD-Flow uses 20 steps to bootstrap its
      diffusions.
    - `path`: The probability path that the field was trained on.

    Source: DDIM (arXiv 2010.02502), $\eta = 0$, with equal time steps.
    """

    num_steps: int = eqx.field(static=True, default=20)
    path: AffinePath = VariancePreservingPath()
    unroll: bool = eqx.field(static=True, default=False)
    evaluations_per_step: ClassVar[int] = 1
    order: ClassVar[int] = 1

    def step(self, velocity: Velocity, t: Time, dt: Time, x: Point) -> Point:
        """One step with the velocity at its start."""
        ends = self.path.ends_of(t, x, velocity(t, x))
        # Rounding must not move the last step past the end, where the path may be undefined.
        return self.path.at(jnp.minimum(t + dt, 1), ends.x0, ends.x1).x
