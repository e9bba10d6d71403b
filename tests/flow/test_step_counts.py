"""Drawn numbers of steps, the Euler steps that they are, and times on their grids."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floqzoo.flow import Euler
from floqzoo.flow.step_counts import draw_grid_times, draw_step_count, require_power_of_two, solve_in_steps
from floqzoo.records import StepCount


START = jnp.array([0.3, -1.2])


def wave(strength, t, x):
    """A field that is not finite outside of [0, 1)."""
    return strength * jnp.sin(3 * x + jnp.log1p(-t)) + t


@eqx.filter_jit
def end_and_slopes(steps):
    def end(strength, start):
        return jnp.sum(solve_in_steps(lambda t, x: wave(strength, t, x), start, steps) * jnp.array([1.0, 2.0]))

    return jax.value_and_grad(end, (0, 1))(0.7, START)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_a_drawn_number_of_steps_is_eulers_method(count):
    """With its gradients, which are those through all of its steps; the field is not used after the last one."""
    drawn, known = end_and_slopes(StepCount(jnp.asarray(count), 8)), end_and_slopes(StepCount.known(count))
    for mine, its in zip(jax.tree.leaves(drawn), jax.tree.leaves(known), strict=True):
        np.testing.assert_allclose(mine, its, rtol=2e-6)
    x = START
    for i in range(count):
        x = x + wave(0.7, i / count, x) / count
    np.testing.assert_allclose(known[0], x @ jnp.array([1.0, 2.0]), rtol=2e-6)
    np.testing.assert_allclose(Euler(count).solve(lambda t, x: wave(0.7, t, x), START), x, rtol=2e-6)


@pytest.mark.parametrize("most", [1, 2, 8])
def test_each_power_of_two_is_drawn_equally_often(most):
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = jax.jit(jax.vmap(lambda key: draw_step_count(key, most).value))(keys)
    found, numbers = np.unique(drawn, return_counts=True)
    np.testing.assert_array_equal(found, 2 ** np.arange(most.bit_length()))
    spread = np.sqrt(4000 * (1 - 1 / len(found)) / len(found))
    assert np.all(np.abs(numbers - 4000 / len(found)) <= 5 * spread)


def test_times_are_uniform_on_the_grid_of_their_own_number_of_steps():
    counts = jnp.repeat(jnp.array([1.0, 2.0, 8.0]), 3000)
    times = np.asarray(draw_grid_times(jax.random.key(1), counts)).reshape(3, 3000)
    for count, drawn in zip((1, 2, 8), times, strict=True):
        found, numbers = np.unique(drawn, return_counts=True)
        np.testing.assert_array_equal(found, np.arange(count) / count)
        assert np.all(np.abs(numbers - 3000 / count) <= 5 * np.sqrt(3000 / count))


@pytest.mark.parametrize("value", [0, -2, 3, 6, 12])
def test_other_numbers_are_refused(value):
    with pytest.raises(ValueError, match=f"`steps` must be a power of two, at least 1; got {value}"):
        require_power_of_two("steps", value)
