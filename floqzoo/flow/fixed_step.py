"""Explicit solvers with equal steps."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import lax

from floqzoo.flow.time_grid import time_grid
from floqzoo.records import Trajectory
from floqzoo.typing import Point, Time, Velocity


class FixedStepSolver(eqx.Module):
    """Integrates from `t0` to `t1` in `num_steps` equal steps.

    It is reverse-differentiable; the memory of the backward pass grows with `num_steps`. A subclass defines `step` and
    its `order` $p$: for a smooth field the error decreases like $K^{-p}$ in the number $K$ of steps.
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
        """One step, from `t` to `t + dt`."""

    @property
    def evaluations(self) -> int:
        """The number of velocity evaluations in one solve."""
        return self.num_steps * self.evaluations_per_step

    def solve(self, velocity: Velocity, x0: Point, t0: Time = 0.0, t1: Time = 1.0) -> Point:
        """The solution at `t1`, starting from `x0` at `t0`; `t1 < t0` integrates backwards."""
        return self._states(velocity, x0, t0, t1, keep=False)[0]

    def trajectory(self, velocity: Velocity, x0: Point, t0: Time = 0.0, t1: Time = 1.0) -> Trajectory:
        """The states of a solve at `num_steps + 1` equally spaced times; `solve` returns the last one."""
        _, states = self._states(velocity, x0, t0, t1, keep=True)
        return Trajectory(time_grid(t0, t1, self.num_steps, jnp.result_type(x0)), jnp.concatenate([x0[None], states]))

    def _states(self, velocity: Velocity, x0: Point, t0: Time, t1: Time, keep: bool) -> tuple[Any, Any]:
        dt = (t1 - t0) / self.num_steps

        def advance(x, t):
            x = self.step(velocity, t, dt, x)
            return x, (x if keep else None)

        return lax.scan(advance, x0, time_grid(t0, t1, self.num_steps, jnp.result_type(x0))[:-1], unroll=self.unroll)


class Euler(FixedStepSolver):
    r"""Euler's method, $x + \Delta t \, v(t, x)$: order 1, one evaluation per step; used by floq and FQL.

    - `num_steps`: The number K of steps, at least 1.
    - `unroll`: Whether to unroll the loop over steps.
    """

    num_steps: int = eqx.field(static=True)
    unroll: bool = eqx.field(static=True, default=False)
    evaluations_per_step: ClassVar[int] = 1
    order: ClassVar[int] = 1

    def step(self, velocity: Velocity, t: Time, dt: Time, x: Point) -> Point:
        """One step with the velocity at its start."""
        return x + dt * velocity(t, x)


class Midpoint(FixedStepSolver):
    r"""The midpoint rule, $x + \Delta t \, v(t + \tfrac{\Delta t}{2}, x + \tfrac{\Delta t}{2} v(t, x))$: order 2; used
    by TD-Flow.

    - `num_steps`, `unroll`: As in [`Euler`][floqzoo.flow.fixed_step.Euler].
    """

    num_steps: int = eqx.field(static=True)
    unroll: bool = eqx.field(static=True, default=False)
    evaluations_per_step: ClassVar[int] = 2
    order: ClassVar[int] = 2

    def step(self, velocity: Velocity, t: Time, dt: Time, x: Point) -> Point:
        """One step with the velocity at its midpoint."""
        half = dt / 2
        return x + dt * velocity(t + half, x + half * velocity(t, x))


class Heun(FixedStepSolver):
    r"""Heun's method, $x + \tfrac{\Delta t}{2} (v_0 + v_1)$ with $v_0 = v(t, x)$,
    $v_1 = v(t + \Delta t, x + \Delta t \, v_0)$: order 2.

    Its last evaluation is at `t1`, where the velocity may be singular if the path ends in a single point.

    - `num_steps`, `unroll`: As in [`Euler`][floqzoo.flow.fixed_step.Euler].
    """

    num_steps: int = eqx.field(static=True)
    unroll: bool = eqx.field(static=True, default=False)
    evaluations_per_step: ClassVar[int] = 2
    order: ClassVar[int] = 2

    def step(self, velocity: Velocity, t: Time, dt: Time, x: Point) -> Point:
        """One step with the mean of the velocities at its ends."""
        start = velocity(t, x)
        return x + dt / 2 * (start + velocity(t + dt, x + dt * start))
