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


@pytest.mark.slow
def test_a_solve_that_fails_is_not_a_number_and_no_error_for_its_batch():
    """From a point that is not finite, or for lack of steps: the last field turns a thousand times."""
    solver = fz.DiffraxSolver(controller=diffrax.PIDController(rtol=1e-6, atol=1e-6), max_steps=64)
    speeds = jnp.array([1.0, 1.0, 6000.0, -1.0])
    starts = jnp.array([[1.0, 0.0], [jnp.nan, 0.0], [1.0, 0.0], [1.0, 0.0]])

    @jax.jit
    @jax.vmap
    @jax.value_and_grad
    def abscissa(speed, x0):
        return solver.solve(lambda t, x: speed * rotation(t, x), x0)[0]

    found, slope = abscissa(speeds, starts)
    assert np.isnan(found).tolist() == [False, True, True, False]
    np.testing.assert_allclose(found[::3], np.cos(1), rtol=1e-4)
    np.testing.assert_allclose(slope[::3], [-np.sin(1), np.sin(1)], rtol=1e-4)


ADJOINTS = {
    diffrax.RecursiveCheckpointAdjoint: [jax.grad],
    diffrax.DirectAdjoint: [jax.grad, jax.jacfwd],
    diffrax.BacksolveAdjoint: [jax.grad],
    diffrax.ForwardMode: [jax.jacfwd],
}


@pytest.mark.slow
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_gradients_reach_the_parameters_and_the_start_through_every_adjoint_or_are_refused(adjoint, adaptive):
    r"""$x(1) = x_0 e^a$ for $\dot x = a x$, so both derivatives are $e^a$ at $x_0 = 1$."""
    controller = diffrax.PIDController(rtol=1e-6, atol=1e-6) if adaptive else diffrax.ConstantStepSize()
    solver = fz.DiffraxSolver(controller=controller, adjoint=adjoint())

    def end(parameter, x0):
        return solver.solve(lambda t, x: parameter * x, x0[None])[0]

    numbers = jnp.asarray(0.5), jnp.asarray(1.0)
    for mode in (jax.grad, jax.jacfwd):
        if mode in ADJOINTS[adjoint]:
            np.testing.assert_allclose(mode(end, (0, 1))(*numbers), np.exp(0.5), rtol=1e-4)
        else:
            with pytest.raises((TypeError, ValueError), match=r"(?i)forward-mode|reverse-mode"):
                mode(end, (0, 1))(*numbers)


def test_an_adjoint_of_steady_states_is_refused():
    with pytest.raises(ValueError, match=r"`adjoint` must not be diffrax.ImplicitAdjoint, which is for steady states"):
        fz.DiffraxSolver(adjoint=diffrax.ImplicitAdjoint())


@pytest.mark.parametrize("name", ["num_steps", "max_steps"])
def test_a_solver_without_steps_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1; got 0"):
        fz.DiffraxSolver(**{name: 0})
