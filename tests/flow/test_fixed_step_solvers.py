"""Order, exact crossings and error factors of the solvers, and their agreement with diffrax and with a plain loop."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, strategies as st
from jax.test_util import check_grads

import floqzoo as fz
from floqzoo.testing import assert_close
from floqzoo.testing.examples import floating, sixteenths


TWINS = [(fz.Euler, diffrax.Euler), (fz.Midpoint, diffrax.Midpoint), (fz.Heun, diffrax.Heun)]
ORDERS = [
    (fz.Euler, 1),
    (fz.Midpoint, 2),
    (fz.Heun, 2),
    (lambda steps: fz.DiffraxSolver(diffrax.Bosh3(), steps), 3),
    (lambda steps: fz.DiffraxSolver(diffrax.Tsit5(), steps), 5),
]
over_orders = pytest.mark.parametrize(("make", "order"), ORDERS, ids=["Euler", "Midpoint", "Heun", "Bosh3", "Tsit5"])
over_twins = pytest.mark.parametrize(("ours", "theirs"), TWINS, ids=[ours.__name__ for ours, _ in TWINS])
every_fixed_step = pytest.mark.parametrize("make", [ours for ours, _ in TWINS])


def curved(t, x):
    """A field that bends in time and space; from x = 1 at t = 0 it leads to exp(sin t)."""
    return x * jnp.cos(t)


def pendulum(t, x):
    return jnp.stack([x[1], -jnp.sin(x[0]) * (1 + t)])


class Pull(eqx.Module):
    r"""$v(t, x) = u - c (x - y_t) / (1 - t)$ towards the line $y_t = x_1 - (1 - t) u$; not defined at t = 1."""

    x1: jax.Array
    u: jax.Array
    c: jax.Array

    def __call__(self, t, x):
        return self.u - self.c * (x - self.x1 + (1 - t) * self.u) / (1 - t)


@eqx.filter_jit
def solve(solver, velocity, x0, t0=0.0, t1=1.0):
    return solver.solve(velocity, x0, t0, t1)


@pytest.mark.usefixtures("double")
@over_orders
def test_the_error_shrinks_at_the_order_of_the_method(make, order):
    steps = np.array([12, 24, 48])
    errors = [abs(make(int(k)).solve(curved, jnp.ones(1))[0] - np.exp(np.sin(1))) for k in steps]
    slope = -np.polyfit(np.log(steps), np.log(np.array(errors)), 1)[0]
    assert slope == pytest.approx(order, abs=0.25)


@pytest.mark.slow
@pytest.mark.usefixtures("double")
@over_orders
def test_the_way_back_returns_within_the_order(make, order):
    x0 = jnp.array([0.7, -0.2])

    def gap(steps):
        solver = make(steps)
        return jnp.max(jnp.abs(solver.solve(pendulum, solver.solve(pendulum, x0), 1.0, 0.0) - x0))

    coarse, fine = gap(12), gap(24)
    assert coarse > 1e-12  # else there is no order to be seen
    assert fine < 1.2 * 2**-order * coarse


@pytest.mark.parametrize("make", [fz.Euler, fz.Midpoint])
@given(st.sampled_from((1, 2, 5, 16)), sixteenths(-8, 8), sixteenths(-8, 8))
def test_the_field_of_a_point_target_is_crossed_exactly(make, steps, x0, x1):
    """Its curves are straight lines at constant speed, however singular the field is at their end."""
    x0, x1 = floating(np.array([x0])), floating(np.array([x1]))
    field = Pull(x1, jnp.zeros(1), jnp.ones(()))
    assert_close(solve(make(steps), field, x0), x1, scale=x0, roundings=16)


def test_heun_reads_the_end_itself_where_a_point_target_has_no_velocity():
    field = Pull(jnp.ones(1), jnp.zeros(1), jnp.ones(()))
    assert jnp.isnan(solve(fz.Heun(4), field, jnp.zeros(1))).all()
    assert_close(solve(fz.Heun(4), field, jnp.zeros(1), 0.0, 0.75), jnp.array([0.75]))


@given(
    st.sampled_from((1, 2, 3, 8)),
    st.sampled_from((0.25, 0.5, 1.0, 1.5)),
    st.tuples(sixteenths(-2, 2), sixteenths(-2, 2), sixteenths(-2, 2)),
)
def test_euler_shrinks_an_error_by_the_product_of_its_factors(steps, c, numbers):
    r"""With slope $-c / (1 - t)$, $K$ steps multiply the distance from the line by $\prod_k (1 - c / (K - k))$."""
    gap, x1, u = (floating(np.array([number])) for number in numbers)
    end = solve(fz.Euler(steps), Pull(x1, u, floating(c)), x1 - u + gap)
    factor = np.prod([1 - c / (steps - k) for k in range(steps)])
    assert_close(end - x1, floating(factor) * gap, scale=jnp.abs(x1) + jnp.abs(u) + jnp.abs(gap))


@eqx.filter_jit
def trajectory(solver, velocity, x0, t0, t1):
    return solver.trajectory(velocity, x0, t0, t1)


@over_twins
@given(st.sampled_from((1, 41)), sixteenths(-1, 2), sixteenths(-1, 2))
@example(1, -1.0, -0.875)  # In float32, t0 + (t1 - t0) is below t1.
@example(1, -1.0, 0.0625)
def test_ours_is_diffrax_on_the_same_grid(ours, theirs, steps, t0, t1):
    """Forward and backward, at every one of the times."""
    x0, t0, t1 = jnp.array([0.7, -0.2]), floating(0.3 + t0), floating(0.9 + t1)
    way = trajectory(ours(steps), pendulum, x0, t0, t1)
    reference = trajectory(fz.DiffraxSolver(theirs(), steps), pendulum, x0, t0, t1)
    assert_close(way.t, reference.t, roundings=8)
    assert_close(way.x, reference.x)


def euler_loop(x, ts, dt):
    for t in ts:
        x = x + dt * pendulum(t, x)
    return x


def midpoint_loop(x, ts, dt):
    for t in ts:
        x = x + dt * pendulum(t + dt / 2, x + dt / 2 * pendulum(t, x))
    return x


def heun_loop(x, ts, dt):
    for t in ts:
        slope = pendulum(t, x)
        x = x + dt * (slope + pendulum(t + dt, x + dt * slope)) / 2
    return x


@pytest.mark.parametrize(("make", "loop"), [(fz.Euler, euler_loop), (fz.Midpoint, midpoint_loop), (fz.Heun, heun_loop)])
@pytest.mark.parametrize(("t0", "t1"), [(0.0, 1.0), (0.8, 0.1)])
def test_a_compiled_solve_is_a_plain_loop(make, loop, t0, t1):
    x0, steps = jnp.array([0.7, -0.2]), 5
    dt = (t1 - t0) / steps
    wanted = loop(x0, [t0 + k * dt for k in range(steps)], dt)
    for found in (solve(make(steps), pendulum, x0, t0, t1), make(steps).solve(pendulum, x0, t0, t1)):
        assert_close(found, wanted)


@pytest.mark.parametrize("steps", [3, 10, 49, 128])
def test_the_times_of_the_unit_interval_are_fractions_to_the_last_bit(steps):
    way = fz.Euler(steps).trajectory(lambda t, x: x, jnp.zeros(1))
    np.testing.assert_array_equal(way.t, np.arange(steps + 1, dtype=np.float32) / np.float32(steps))


@every_fixed_step
def test_a_batch_of_random_end_times_is_its_rows(make, getkey):
    starts, ends = jax.random.normal(getkey(), (6, 2)), jax.random.uniform(getkey(), (6,))
    together = jax.jit(jax.vmap(lambda x, t: make(4).solve(pendulum, x, 0.0, t)))(starts, ends)
    assert_close(together, jnp.stack([solve(make(4), pendulum, x, 0.0, t) for x, t in zip(starts, ends, strict=True)]))


@pytest.mark.usefixtures("double")
@every_fixed_step
def test_gradients_agree_with_finite_differences(make):
    def end(parameters, x0, t0, t1):
        return make(5).solve(lambda t, x: jnp.tanh(parameters @ x + t), x0, t0, t1)

    arguments = (jnp.array([[0.3, -1.2], [0.8, 0.1]]), jnp.array([0.7, -0.2]), jnp.array(0.1), jnp.array(0.8))
    check_grads(jax.jit(end), arguments, order=1, modes=["rev"], atol=1e-7, rtol=1e-7)


@every_fixed_step
@pytest.mark.parametrize("steps", [0, -3])
def test_a_solver_without_steps_is_refused(make, steps):
    with pytest.raises(ValueError, match=f"`num_steps` must be at least 1; got {steps}"):
        make(steps)


# Clipped steps


@given(x0=sixteenths(-3, 3), speed=sixteenths(-4, 4), steps=st.sampled_from([1, 4]))
def test_each_step_of_a_clipped_solver_ends_in_the_range(x0, speed, steps):
    """Forward for one half of the time and back for the other: a clip of the last step alone would end elsewhere."""

    def velocity(t, x):
        return jnp.where(t < 0.5, speed, -speed) + 0 * x

    way = jax.jit(lambda x: fz.ClippedEuler(steps, -1.0, 0.5).trajectory(velocity, x).x)(floating(np.array([x0])))
    wanted = [x0]
    for step in range(steps):
        wanted.append(np.clip(wanted[-1] + (speed if step / steps < 0.5 else -speed) / steps, -1, 0.5))
    assert_close(way[:, 0], np.array(wanted), scale=4.0)


def test_the_range_of_a_clipped_solver_is_that_of_discounted_returns():
    solver = fz.ClippedEuler.from_rewards((-2.0, 0.5), 0.75, 7)
    assert (solver.num_steps, float(solver.low.value), float(solver.high.value)) == (7, -8.0, 2.0)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: fz.ClippedEuler(0, -1.0, 1.0), "`num_steps` must be at least 1; got 0"),
        (lambda: fz.ClippedEuler(3, 1.0, 1.0), "`low` must be below `high`"),
        (
            lambda: fz.ClippedEuler.from_rewards((-2.0, -2.0), 0.9),
            r"maximum; got \(-2.*no episode reaches the goal, use more",
        ),
        (lambda: fz.ClippedEuler.from_rewards((0.0, 1.0), 1.0), r"`discount` must lie in \[0, 1\); got 1.0"),
    ],
)
def test_a_range_that_is_none_is_refused(make, problem):
    with pytest.raises(ValueError, match=problem):
        make()
