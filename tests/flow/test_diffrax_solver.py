"""Diffrax's solvers behind the solver protocol: accuracy of adaptive steps, counts of evaluations, refusals."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.flow import accurate_solver
from floqzoo.testing import assert_close
from floqzoo.testing.velocities import Observed


def rotation(t, x):
    """A turn by one radian in unit time, whatever the time."""
    del t
    return jnp.stack([-x[1], x[0]])


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_adaptive_steps_keep_to_their_tolerance(tolerance):
    solver = fz.DiffraxSolver(controller=diffrax.PIDController(rtol=tolerance, atol=tolerance))
    end = solver.solve(rotation, jnp.array([1.0, 0.0]))
    error = jnp.max(jnp.abs(end - jnp.array([np.cos(1), np.sin(1)])))
    assert error < 10 * tolerance


@pytest.mark.parametrize("method", [diffrax.Euler(), diffrax.Ralston(), diffrax.Bosh3(), diffrax.Dopri5()])
@pytest.mark.parametrize("steps", [1, 3])
def test_evaluations_of_constant_steps_are_exact(method, steps):
    solver, field = fz.DiffraxSolver(method, steps), Observed(rotation)
    jax.block_until_ready(solver.solve(field, jnp.ones(2)))
    assert len(field.times) == solver.evaluations == solver.count_evaluations(rotation, jnp.ones(2))


def test_evaluations_of_adaptive_steps_are_counted_as_they_happen():
    solver, field = accurate_solver(), Observed(rotation)
    jax.block_until_ready(solver.solve(field, jnp.ones(2)))
    assert len(field.times) == solver.count_evaluations(rotation, jnp.ones(2)) < solver.evaluations


def test_an_adaptive_trajectory_reports_equal_times():
    way = fz.DiffraxSolver(num_steps=4, controller=diffrax.PIDController(rtol=1e-6, atol=1e-6)).trajectory(
        rotation, jnp.array([1.0, 0.0]), 0.0, 2.0
    )
    assert_close(way.t, jnp.array([0.0, 0.5, 1.0, 1.5, 2.0]))
    np.testing.assert_allclose(way.x, jnp.stack([jnp.cos(way.t), jnp.sin(way.t)], axis=1), atol=1e-4)


def test_a_solve_that_needs_too_many_steps_is_an_error_and_not_a_wrong_answer():
    solver = fz.DiffraxSolver(controller=diffrax.PIDController(rtol=1e-6, atol=1e-6), max_steps=2)
    with pytest.raises(Exception, match="maximum number of solver steps"):
        jax.block_until_ready(solver.solve(rotation, jnp.ones(2), 0.0, 9.0))


@pytest.mark.parametrize("name", ["num_steps", "max_steps"])
def test_a_solver_without_steps_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1; got 0"):
        fz.DiffraxSolver(**{name: 0})
