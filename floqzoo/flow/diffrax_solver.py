"""Solves the ODE of a flow with a diffrax solver."""

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Float, Int

from floqzoo.flow.time_grid import time_grid
from floqzoo.records import Trajectory
from floqzoo.typing import Array, Point, Time, Velocity


class DiffraxSolver(eqx.Module):
    """An ODE solver for flows that wraps a diffrax solver, step-size controller and adjoint.

    - `solver`: Any explicit or implicit ODE solver of diffrax.
    - `num_steps`: The number of steps, at least 1. For an adaptive solver, this is only the number of intervals
      between the states that `trajectory` returns.
    - `controller`: The step-size controller; constant steps by default. Use `diffrax.PIDController(rtol=1e-5,
      atol=1e-5)` for adaptive steps.
    - `adjoint`: The diffrax adjoint. It determines how a solve is differentiated with respect to the initial point and
      the parameters of the field. `jax.grad` works with all adjoints except `ForwardMode`, for which JAX raises an
      error; `jax.jvp` works only with `DirectAdjoint` and `ForwardMode`.
    - `max_steps`: The maximum number of steps of an adaptive solve, at least 1.

    If a solve fails, for example because `max_steps` is too small or the initial point is not finite, its result is
    NaN. In a batch, only the rows whose solve failed are NaN.

    **Raises** `ValueError` if `num_steps` or `max_steps` is below 1, or for `diffrax.ImplicitAdjoint`, which is meant
    for steady states and would give gradients of 0 for a solution at a finite time.
    """

    solver: diffrax.AbstractSolver = eqx.field(default_factory=diffrax.Tsit5)
    num_steps: int = eqx.field(static=True, default=16)
    controller: diffrax.AbstractStepSizeController = eqx.field(default_factory=diffrax.ConstantStepSize)
    adjoint: diffrax.AbstractAdjoint = eqx.field(default_factory=diffrax.RecursiveCheckpointAdjoint)
    max_steps: int = eqx.field(static=True, default=4096)

    def __check_init__(self):
        for name in ("num_steps", "max_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1; got {getattr(self, name)}.")
        if isinstance(self.adjoint, diffrax.ImplicitAdjoint):
            raise ValueError(
                "`adjoint` must not be diffrax.ImplicitAdjoint, which is for steady states; RecursiveCheckpointAdjoint, "
                "DirectAdjoint and BacksolveAdjoint give the gradients of a solution."
            )

    @property
    def is_adaptive(self) -> bool:
        """Whether the controller chooses the step sizes."""
        return not isinstance(self.controller, diffrax.ConstantStepSize)

    @property
    def evaluations(self) -> int:
        """The number of velocity evaluations per solve: exact for constant steps, an upper bound for adaptive ones.

        For an adaptive solver, `count_evaluations` returns the actual number. For an implicit solver, both numbers
        count one evaluation per stage, and ignore the evaluations of the root finder.
        """
        return self._evaluations_of(self.max_steps if self.is_adaptive else self.num_steps)

    @property
    def order(self) -> int:
        """The order of convergence of a solver with constant steps.

        **Raises** `AttributeError` for an adaptive solver, because its error depends on its tolerance.
        """
        order = None if self.is_adaptive else self.solver.order(diffrax.ODETerm(lambda t, x, _: x))
        if order is None:
            raise AttributeError("an adaptive solver has no fixed order.")
        return order

    def solve(self, velocity: Velocity, x0: Point, t0: Time = 0.0, t1: Time = 1.0) -> Point:
        """Returns the solution at `t1`, starting from `x0` at `t0`; if `t1 < t0`, integrates backwards in time."""
        return _states(self._solution(velocity, x0, t0, t1, diffrax.SaveAt(t1=True)))[0]

    def trajectory(self, velocity: Velocity, x0: Point, t0: Time = 0.0, t1: Time = 1.0) -> Trajectory:
        """Returns the states of a solve at `num_steps + 1` equally spaced times; `solve` returns the last state."""
        times = time_grid(t0, t1, self.num_steps, jnp.result_type(x0))
        return Trajectory(times, _states(self._solution(velocity, x0, t0, t1, diffrax.SaveAt(ts=times))))

    def count_evaluations(self, velocity: Velocity, x0: Point, t0: Time = 0.0, t1: Time = 1.0) -> Int[Array, ""]:
        """Returns the number of velocity evaluations that this solve needs, including those of rejected steps."""
        solution = self._solution(velocity, x0, t0, t1, diffrax.SaveAt(t1=True))
        return jnp.asarray(self._evaluations_of(solution.stats["num_steps"]))

    def _solution(self, velocity: Velocity, x0: Point, t0: Time, t1: Time, save: diffrax.SaveAt) -> diffrax.Solution:
        field = velocity
        if isinstance(self.adjoint, diffrax.BacksolveAdjoint):
            # It differentiates with respect to arguments only, so the values that the field closes over become one.
            field = eqx.filter_closure_convert(velocity, jnp.asarray(t0, jnp.result_type(x0)), x0)
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, x, field: field(t, x)),
            self.solver,
            t0,
            t1,
            self._first_step(t0, t1),
            x0,
            args=field,
            saveat=save,
            stepsize_controller=self.controller,
            adjoint=self.adjoint,
            max_steps=self.max_steps if self.is_adaptive else self.num_steps,
            throw=False,
        )

    def _first_step(self, t0: Time, t1: Time) -> Time | None:
        if self.is_adaptive:
            return None
        # A single step is made too long, and diffrax truncates it at t1: t0 + (t1 - t0) may round to just below t1.
        return 2 * (t1 - t0) if self.num_steps == 1 else (t1 - t0) / self.num_steps

    def _evaluations_of(self, steps):
        tableau = getattr(self.solver, "tableau", None)
        if tableau is None:
            return steps
        if tableau.fsal:
            return steps * (tableau.num_stages - 1) + 1
        return steps * tableau.num_stages


def _states(solution: diffrax.Solution) -> Float[Array, "times dim"]:
    """The saved states, or NaN if the solve failed."""
    assert solution.ys is not None
    return jnp.where(solution.result == diffrax.RESULTS.successful, solution.ys, jnp.nan)
