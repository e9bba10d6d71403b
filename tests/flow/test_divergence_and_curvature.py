"""Exact and estimated divergences on fields whose trace is known; curvature on ways whose integral is known."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import floqzoo as fz
from floqzoo.records import Trajectory


MATRIX = np.array([[1.0, -2.0, 0.5], [0.25, -0.75, 3.0], [-1.5, 0.125, 2.0]], dtype=np.float32)


def linear(x):
    return jnp.asarray(MATRIX) @ x


def test_the_exact_divergence_is_the_trace():
    divergence = fz.ExactDivergence().divergence(lambda x: linear(x) + x**2, jnp.array([1.0, 2.0, 3.0]), None)
    np.testing.assert_allclose(divergence, np.trace(MATRIX) + 2 * (1 + 2 + 3), rtol=1e-6)


def test_hutchinson_is_exact_where_the_jacobian_is_diagonal(getkey):
    """A sign squared is 1, so a single probe suffices."""
    estimate = fz.HutchinsonDivergence().divergence(lambda x: x**3, jnp.array([1.0, 2.0, 3.0]), getkey())
    np.testing.assert_allclose(estimate, 3 * (1 + 4 + 9), rtol=1e-6)


def test_hutchinson_is_exact_on_average_over_all_signs(getkey):
    """One probe gives the value of some sign vector, every one of them occurs, and their mean is the trace."""
    one_probe = jax.vmap(lambda key: fz.HutchinsonDivergence().divergence(linear, jnp.ones(3), key))
    seen = np.unique(np.round(one_probe(jax.random.split(getkey(), 256)), 4))
    signs = np.array(list(itertools.product((-1, 1), repeat=3)))
    possible = np.einsum("ni,ij,nj->n", signs, MATRIX, signs)
    np.testing.assert_allclose(seen, np.unique(np.round(possible, 4)), atol=1e-4)
    np.testing.assert_allclose(possible.mean(), np.trace(MATRIX))


@pytest.mark.parametrize("probes", [1, 4])
def test_hutchinson_is_unbiased_with_the_variance_of_its_probes(probes, getkey):
    r"""$\frac2n \sum_{i \ne j} S_{ij}^2$ for the symmetric part $S$; the mean lies within six standard errors."""
    estimate = fz.HutchinsonDivergence(probes)
    draws = jax.vmap(lambda key: estimate.divergence(linear, jnp.ones(3), key))(jax.random.split(getkey(), 4096))
    symmetric = (MATRIX + MATRIX.T) / 2
    variance = 2 * (np.sum(symmetric**2) - np.sum(np.diag(symmetric) ** 2)) / probes
    assert abs(np.mean(draws) - np.trace(MATRIX)) < 6 * np.sqrt(variance / 4096)
    np.testing.assert_allclose(np.var(draws), variance, rtol=0.15)


def test_hutchinson_asks_for_a_key_and_for_probes():
    with pytest.raises(ValueError, match="`key` must be given"):
        fz.HutchinsonDivergence().divergence(linear, jnp.ones(3), None)
    with pytest.raises(ValueError, match="`probes` must be at least 1; got 0"):
        fz.HutchinsonDivergence(0)


@given(st.sampled_from((1, 2, 7)), st.sampled_from((0.5, 1.0, 3.0)), st.sampled_from((-1.0, 2.0)))
def test_the_curvature_of_a_parabola_is_known(steps, duration, height):
    r"""For $x = h s^2$ with $s = t / T$ in $K$ intervals: $\frac{h^2}3 (1 - K^{-2})$, whatever the duration $T$."""
    share = np.arange(steps + 1) / steps
    way = Trajectory(jnp.asarray(duration * share, dtype=float), jnp.asarray(height * share[:, None] ** 2, dtype=float))
    np.testing.assert_allclose(fz.path_curvature(way), height**2 / 3 * (1 - steps**-2), atol=1e-5)


def test_a_straight_way_at_constant_speed_has_no_curvature():
    straight = fz.Euler(7).trajectory(lambda t, x: jnp.array([1.0, -2.0]), jnp.zeros(2), 0.2, 0.9)
    np.testing.assert_allclose(fz.path_curvature(straight), 0, atol=1e-10)
