"""Explicit ODE solvers with steps of equal length."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import lax

from floqzoo.flow.time_grid import time_grid
from floqzoo.records import Trajectory
from floqzoo.typing import Point, Time, Velocity


class FixedStepSolver(eqx.Module):
    """The base class of solvers that integrate an ODE from `t0` to `t1` in `num_steps` equal steps.

    A solve is reverse-differentiable, and the memory of the backward pass grows with `num_steps`. A subclass defines
    `step` and the `order` $p$ of the method: for a smooth field and $K$ steps, the error decreases like $K^{-p}$.
    """

    num_steps: eqx.AbstractVar[int]
    unroll: eqx.AbstractVar[bool]
    evaluations_per_step: eqx.AbstractClassVar[int]
    order: eqx.AbstractClassVar[int]

    def __check_init__(self):
        if self.num_steps < 1:
            raise ValueError(f"`num_steps` must be at least 1; got {self.num_steps}.")

    @abc.abstractmethod
    def step(self, velocity: Velocity, t: Time, dt: Time, x: Point) -> Point:
        """Takes one step from `t` to `t + dt`, starting at `x`, and returns the new point."""

    @property
    def evaluations(self) -> int:
        """The number of velocity evaluations per solve."""
        return self.num_steps * self.evaluations_per_step

    def solve(self, velocity: Velocity, x0: Point, t0: Time = 0.0, t1: Time = 1.0) -> Point:
        """Returns the solution at `t1`, starting from `x0` at `t0`; if `t1 < t0`, integrates backwards in time."""
        return self._states(velocity, x0, t0, t1, keep=False)[0]

    def trajectory(self, velocity: Velocity, x0: Point, t0: Time = 0.0, t1: Time = 1.0) -> Trajectory:
        """Returns the states of a solve at `num_steps + 1` equally spaced times; `solve` returns the last state."""
        _, states = self._states(velocity, x0, t0, t1, keep=True)
        return Trajectory(time_grid(t0, t1, self.num_steps, jnp.result_type(x0)), jnp.concatenate([x0[None], states]))

    def _states(self, velocity: Velocity, x0: Point, t0: Time, t1: Time, keep: bool) -> tuple[Any, Any]:
        dt = (t1 - t0) / self.num_steps

        def advance(x, t):
            x = self.step(velocity, t, dt, x)
            return x, (x if keep else None)

        return lax.scan(advance, x0, time_grid(t0, t1, self.num_steps, jnp.result_type(x0))[:-1], unroll=self.unroll)


class Euler(FixedStepSolver):
    r"""Euler's method, $x_{t + \Delta t} = x + \Delta t \, v(t, x)$, as used by floq and FQL.

    The method has order 1 and evaluates the velocity once per step.

    - `num_steps`: The number $K$ of steps, at least 1.
    - `unroll`: Whether to unroll the loop over steps.
    """

    num_steps: int = eqx.field(static=True)
    unroll: bool = eqx.field(static=True, default=False)
    evaluations_per_step: ClassVar[int] = 1
    order: ClassVar[int] = 1

    def step(self, velocity: Velocity, t: Time, dt: Time, x: Point) -> Point:
        """Takes one step with the velocity at its start."""
        return x + dt * velocity(t, x)


class Midpoint(FixedStepSolver):
    r"""The midpoint method, $x_{t + \Delta t} = x + \Delta t \, v(t + \tfrac{\Delta t}{2},
    x + \tfrac{\Delta t}{2} v(t, x))$, as used by TD-Flow.

    The method has order 2 and evaluates the velocity twice per step.

    - `num_steps`, `unroll`: As in [`Euler`][floqzoo.flow.fixed_step.Euler].
    """

    num_steps: int = eqx.field(static=True)
    unroll: bool = eqx.field(static=True, default=False)
    evaluations_per_step: ClassVar[int] = 2
    order: ClassVar[int] = 2

    def step(self, velocity: Velocity, t: Time, dt: Time, x: Point) -> Point:
        """Takes one step with the velocity at its midpoint."""
        half = dt / 2
        return x + dt * velocity(t + half, x + half * velocity(t, x))


class Heun(FixedStepSolver):
    r"""Heun's method, $x_{t + \Delta t} = x + \tfrac{\Delta t}{2} (v_0 + v_1)$ with $v_0 = v(t, x)$ and
    $v_1 = v(t + \Delta t, x + \Delta t \, v_0)$.

    The method has order 2 and evaluates the velocity twice per step. The last evaluation of a solve is at `t1`, where
    the velocity may be singular if the path ends in a single point.

    - `num_steps`, `unroll`: As in [`Euler`][floqzoo.flow.fixed_step.Euler].
    """

    num_steps: int = eqx.field(static=True)
    unroll: bool = eqx.field(static=True, default=False)
    evaluations_per_step: ClassVar[int] = 2
    order: ClassVar[int] = 2

    def step(self, velocity: Velocity, t: Time, dt: Time, x: Point) -> Point:
        """Takes one step with the mean of the velocities at its start and end."""
        start = velocity(t, x)
        return x + dt / 2 * (start + velocity(t + dt, x + dt * start))
