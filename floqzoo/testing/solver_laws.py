"""Laws of ODE solvers, and additional laws of fixed-step solvers."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.flow.fixed_step import FixedStepSolver
from floqzoo.protocols import ODESolver
from floqzoo.testing.closeness import assert_close, assert_rows_are_mapped, compiled
from floqzoo.testing.examples import Example
from floqzoo.testing.velocities import Growing, Observed, Wave


SHORT = 1 / 64


def constant_fields_are_solved_exactly(solver: ODESolver, example: Example) -> None:
    r"""$x(t_1) = x(t_0) + (t_1 - t_0) \, c$ for $\dot x = c$, over any interval, forward or backward."""
    end = compiled(_end, example.x0, solver, _constant(example), example.s, example.t)
    assert_close(end, example.x0 + (example.t - example.s) * example.x1)


def a_short_step_follows_the_velocity(solver: ODESolver, example: Example) -> None:
    r"""$x(t + h) = x(t) + h \, v(t, x(t)) + O(h^2)$, forward and backward (consistency).

    For $v = c + \sin(x + t)$ and small $h$, the remainder is below $h^2 \, (2 + |c|)$, twice the bound for the exact
    solution.
    """
    velocity = Wave(example.x1, jnp.ones_like(example.t))
    for h in (SHORT, -SHORT):
        end, start = compiled(_end_and_velocity, solver, velocity, example.x0, example.t, example.t + h)
        remainder = np.abs(end - example.x0 - h * start)
        bound = h**2 * (2 + np.abs(example.x1)) + 64 * float(jnp.finfo(end.dtype).eps)
        assert np.all(remainder <= bound), f"remainder {remainder}, above {bound}, for h = {h}"


def the_field_is_evaluated_at_the_right_times(solver: ODESolver, example: Example) -> None:
    r"""On $\dot x = \pm x + t$, a solver is at least as accurate as Euler's method with the same number of evaluations.

    The sign is the sign of $t_1 - t_0$. The intervals are [0, 1], [1/32, 31/32] in both directions, and the interval
    between the example's two times. A solver that evaluates the field at constant, late or reversed times, or at a
    constant state, violates the bound on at least one of these intervals.
    """
    for interval in ((0, 1), (1 / 32, 31 / 32), (31 / 32, 1 / 32), (float(example.s), float(example.t))):
        start, end = np.asarray(interval, example.x0.dtype)
        sign = np.sign(end - start)
        # y = x + sign t + 1 grows by e^|t1 - t0|, and by (1 + |t1 - t0| / N)^N in N steps of Euler's method.
        y0 = np.array([0.25, 1.25])
        x0, t0, t1 = (jnp.asarray(value, example.x0.dtype) for value in (y0 - sign * start - 1, start, end))
        found = compiled(_end, x0, solver, Growing(jnp.asarray(sign)), t0, t1)
        length, count = abs(float(end) - float(start)), solver.evaluations
        error = np.abs(found + sign * end + 1 - y0 * np.exp(length))
        bound = 1.001 * y0 * (np.exp(length) - (1 + length / count) ** count) + 64 * float(jnp.finfo(found.dtype).eps)
        assert np.all(error <= bound), (
            f"error {error}, above {bound}, with {count} evaluations from {t0} to {t1}, where the field depends on t and x"
        )


def the_error_falls_with_the_order(solver: Any, example: Example) -> None:
    r"""For a solver with an attribute `order`, halving the length of the interval of each solve multiplies the error by
    at most $2^{0.4 - p}$, where $p$ is the order.

    The errors of $n$ and of $2n$ solves in a row over equal parts of [0, 1] are compared on $\dot x = 2 \cos(x + 3t)$.
    Here $n$ is 8, or just large enough for 8 steps if the solver has an attribute `num_steps`. Solvers without an order
    and adaptive solvers are skipped.
    """
    order = getattr(solver, "order", None)
    if order is None or getattr(solver, "is_adaptive", False):
        return
    count = math.ceil(8 / getattr(solver, "num_steps", 1))
    x0 = jnp.asarray([0.0, 0.5], example.x0.dtype)
    coarse, fine = (
        np.abs(compiled(_composed, x0, solver, jnp.asarray(parts)) - _TURNED) for parts in (count, 2 * count)
    )
    rounding = 64 * float(jnp.finfo(x0.dtype).eps)
    bound = 2 ** (0.4 - order) * coarse + rounding
    assert np.all(fine <= bound), f"error {coarse} of {count} solves, {fine} of {2 * count}: not of order {order}"


def a_trajectory_joins_start_and_solution(solver: ODESolver, example: Example) -> None:
    """A trajectory begins at the initial point, ends where `solve` ends, and has monotonic times from `t0` to `t1`."""
    velocity = Wave(example.x1, jnp.ones_like(example.t))
    way = compiled(_way, solver, velocity, example.x0, example.s, example.t)
    end = compiled(_end, example.x0, solver, velocity, example.s, example.t)
    times, states = np.asarray(way.t), np.asarray(way.x)
    assert_close(states[[0, -1]], np.stack([example.x0, end]))
    assert_close(times[[0, -1]], np.stack([example.s, example.t]))
    assert np.all(np.sign(np.diff(times)) == np.sign(example.t - example.s)), f"times {times}"


def evaluations_are_counted(solver: ODESolver, example: Example) -> None:
    """A solver evaluates the velocity exactly `evaluations` times, or at most that many times if it is adaptive."""
    count = len(_times_of_evaluations(solver, example))
    adaptive = getattr(solver, "is_adaptive", False)
    assert count == solver.evaluations or (adaptive and 0 < count < solver.evaluations), (
        f"{count} evaluations instead of the stated {solver.evaluations}"
    )


def no_time_outside_the_interval_is_evaluated(solver: ODESolver, example: Example) -> None:
    """The velocity is only evaluated between `t0` and `t1`, because a flow may be undefined elsewhere."""
    times = np.array(_times_of_evaluations(solver, example))
    low, high = sorted((float(example.s), float(example.t)))
    rounding = 4 * float(jnp.finfo(example.t.dtype).eps)
    assert np.all((times >= low - rounding) & (times <= high + rounding)), f"times {times} outside [{low}, {high}]"


def gradients_reach_start_field_and_times(solver: ODESolver, example: Example) -> None:
    r"""For $\dot x = c$, the derivative of the solution with respect to the initial point is 1, with respect to $c$ it
    is $t_1 - t_0$, and with respect to $t_1$ it is $c$."""
    by_velocity, by_start, by_time = compiled(_gradients, solver, _constant(example), example.x0, example.s, example.t)
    assert_close(by_start, jnp.ones_like(example.x0))
    assert_close(by_velocity.constant, jnp.full_like(example.x0, example.t - example.s))
    assert_close(by_time, jnp.sum(example.x1))


def distant_starts_stay_finite(solver: ODESolver, example: Example) -> None:
    r"""For $\dot x = c - x$, the solution and its gradient are finite for initial points of up to $1 / 128$ of the
    largest representable number.

    In float32, this limit is $2.6 \times 10^{36}$. In general, a result is finite if the velocities at all stages, the
    stages and the solution are below this limit. The law does not cover all finite points, because the solution itself
    may overflow, depending on the field: here, it grows by a factor of up to $e$ when solved backwards in time. The
    limit also leaves room for the stages, which add velocities with weights of up to about 12.
    """
    far = float(jnp.finfo(example.x0.dtype).max) / 128
    for x in (far, -far):
        found = compiled(_end_and_gradient, jnp.full_like(example.x0, x), solver, example.x1, example.s, example.t)
        assert all(np.isfinite(leaf).all() for leaf in found), f"end and gradient {found} from {x}"


def a_batch_of_solves_is_its_rows(solver: ODESolver, example: Example) -> None:
    """Solving a batch of initial points with `jax.vmap` gives the same results as solving them one by one."""
    velocity = Wave(example.x1, jnp.ones_like(example.t))
    rows = jnp.stack([example.x0, -example.x0])
    assert_rows_are_mapped(_end, rows, solver, velocity, example.s, example.t)


def two_halves_are_the_whole_interval(solver: FixedStepSolver, example: Example) -> None:
    r"""$2K$ steps from $t_0$ to $t_1$ give the same result as $K$ steps to the midpoint and then $K$ steps to $t_1$."""
    velocity = Wave(example.x1, jnp.ones_like(example.t))
    twice = replace(solver, num_steps=2 * solver.num_steps)
    middle = (example.s + example.t) / 2
    half_way = compiled(_end, example.x0, solver, velocity, example.s, middle)
    end = compiled(_end, example.x0, twice, velocity, example.s, example.t)
    assert_close(compiled(_end, half_way, solver, velocity, middle, example.t), end)


def a_trajectory_is_one_step_after_another(solver: FixedStepSolver, example: Example) -> None:
    r"""$x_{k+1} = \text{step}(t_k, \Delta t, x_k)$, with $t_k = t_0 + k \, \Delta t$ and $\Delta t = (t_1 - t_0) / K$
    for $K$ steps.

    The expected points are computed in a plain Python loop.
    """
    velocity = Wave(example.x1, jnp.ones_like(example.t))
    way = compiled(_way, solver, velocity, example.x0, example.s, example.t)
    times, states = compiled(_loop, solver, velocity, example.x0, example.s, example.t)
    assert_close(way.t, times)
    assert_close(way.x, states)


def an_unrolled_loop_is_the_loop(solver: FixedStepSolver, example: Example) -> None:
    """`unroll` only affects how the steps are compiled, not the result."""
    velocity = Wave(example.x1, jnp.ones_like(example.t))
    other = replace(solver, unroll=not solver.unroll)
    end = compiled(_end, example.x0, solver, velocity, example.s, example.t)
    assert_close(compiled(_end, example.x0, other, velocity, example.s, example.t), end)


def _turning(t, x):
    return 2 * jnp.cos(x + 3 * t)


def _turned(x: np.ndarray) -> np.ndarray:
    """The solution of `_turning` after unit time, by 1,000 fourth-order Runge-Kutta steps in double precision."""
    step = 1e-3
    for start in np.arange(1000) * step:
        stages = [2 * np.cos(x + 3 * start)]
        for share in (0.5, 0.5, 1.0):
            stages.append(2 * np.cos(x + share * step * stages[-1] + 3 * (start + share * step)))
        x = x + step / 6 * (stages[0] + 2 * stages[1] + 2 * stages[2] + stages[3])
    return x


_TURNED = _turned(np.array([0.0, 0.5]))


def _end(x0, solver: ODESolver, velocity, t0, t1):
    return solver.solve(velocity, x0, t0, t1)


def _composed(x0, solver: ODESolver, parts):
    """Solves from 0 to 1 in equal parts, whose number is traced, so that it is compiled once for all numbers."""

    def solve(k, x):
        t0, t1 = (number.astype(x.dtype) / parts.astype(x.dtype) for number in (k, k + 1))
        return solver.solve(_turning, x, t0, t1)

    return jax.lax.fori_loop(0, parts, solve, x0)


def _end_and_velocity(solver: ODESolver, velocity, x0, t0, t1):
    return solver.solve(velocity, x0, t0, t1), velocity(t0, x0)


def _loop(solver: FixedStepSolver, velocity, x0, t0, t1):
    times, states = [t0], [x0]
    for k in range(solver.num_steps):
        states.append(solver.step(velocity, times[-1], (t1 - t0) / solver.num_steps, states[-1]))
        times.append(t0 + (k + 1) * (t1 - t0) / solver.num_steps)
    return jnp.stack(times), jnp.stack(states)


def _way(solver: ODESolver, velocity, x0, t0, t1):
    return solver.trajectory(velocity, x0, t0, t1)


def _end_and_gradient(x0, solver: ODESolver, shift, t0, t1):
    def end(x0):
        return solver.solve(lambda t, x: shift - x, x0, t0, t1)

    return end(x0), jax.jacrev(end)(x0)


def _gradients(solver: ODESolver, velocity, x0, t0, t1):
    return jax.grad(lambda velocity, x0, t1: jnp.sum(solver.solve(velocity, x0, t0, t1)), (0, 1, 2))(velocity, x0, t1)


_WATCHED = Observed(lambda t, x: jnp.sin(x + t))


def _times_of_evaluations(solver: ODESolver, example: Example) -> list[float]:
    _WATCHED.times.clear()
    jax.block_until_ready(compiled(_end, example.x0, solver, _WATCHED, example.s, example.t))
    return list(_WATCHED.times)


def _constant(example: Example) -> Wave:
    return Wave(example.x1, jnp.zeros_like(example.t))


solver_laws = (
    constant_fields_are_solved_exactly,
    a_short_step_follows_the_velocity,
    the_field_is_evaluated_at_the_right_times,
    the_error_falls_with_the_order,
    a_trajectory_joins_start_and_solution,
    evaluations_are_counted,
    no_time_outside_the_interval_is_evaluated,
    gradients_reach_start_field_and_times,
    distant_starts_stay_finite,
    a_batch_of_solves_is_its_rows,
)

fixed_step_laws = (
    two_halves_are_the_whole_interval,
    a_trajectory_is_one_step_after_another,
    an_unrolled_loop_is_the_loop,
)
