"""Normalisation of observations: what is fitted, and what it does to every float."""

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis.extra import numpy as npst

import floqzoo as fz
from floqzoo.networks import normaliser as module
from floqzoo.networks.normaliser import Normaliser


FLOAT = jax.dtypes.canonicalize_dtype(np.float64)
LARGEST, TINY = np.finfo(np.float32).max, np.finfo(np.float32).tiny
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
scales = st.floats(float(TINY), float(LARGEST), width=32)
tables = npst.arrays(
    np.float32, npst.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(-1e6, 1e6, width=32)
)


@given(finite, finite, scales)
@example(float(LARGEST), -float(LARGEST), float(TINY))
@example(0.0, 0.0, float(TINY))
def test_every_finite_number_stays_finite_and_so_does_its_derivative(x, mean, scale):
    normaliser = Normaliser(np.float32(mean), np.float32(scale))
    z, slope = jax.value_and_grad(lambda x: normaliser.normalise(x[None])[0])(jnp.float32(x))
    assert np.isfinite(z) and np.isfinite(slope)
    wanted = (np.float64(np.float32(x)) - np.float32(mean)) / np.float64(np.float32(scale))
    if TINY < abs(wanted) < LARGEST / 2 and abs(x - mean) < LARGEST / 2:
        np.testing.assert_allclose(z, wanted, rtol=1e-5)


@given(tables)
def test_it_is_fitted_in_double_precision_by_chunks(table):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", 2)
        found = Normaliser.from_observations(table)
    exact = table.astype(np.float64)
    constant = (table == table[0]).all(axis=0)
    np.testing.assert_array_equal(found.mean.value[constant], table[0, constant])
    np.testing.assert_array_equal(found.scale.value[constant], 1)
    np.testing.assert_allclose(found.mean.value, exact.mean(axis=0), rtol=1e-6, atol=1e-9 * np.abs(exact).max())
    deviation = exact.std(axis=0)
    known = ~constant & (deviation > TINY)
    np.testing.assert_allclose(found.scale.value[known], deviation[known], rtol=1e-6, atol=1e-9 * np.abs(exact).max())
    assert found.mean.value.dtype == found.scale.value.dtype == FLOAT


def test_large_offsets_do_not_cancel():
    """In float32 the mean of the squares less the square of the mean is 0, or negative, here."""
    table = np.float32(1e6) + np.random.default_rng(0).normal(size=(4000, 1)).astype(np.float32)
    found = Normaliser.from_observations(table)
    np.testing.assert_allclose(found.scale.value, table.astype(np.float64).std(axis=0), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.1, -3.7e5, 1e-30])
def test_a_constant_becomes_0_and_a_deviation_from_it_keeps_its_units(value, dtype):
    """Also where the deviation of the rounded mean is not 0."""
    table = np.full((1001, 1), value, dtype)
    found = Normaliser.from_observations(table)
    assert found.scale.value == 1
    assert found.normalise(jnp.asarray(table[0], FLOAT)) == 0
    step = np.asarray(table[0] + dtype(2.0), FLOAT)
    np.testing.assert_allclose(found.normalise(jnp.asarray(step)), step - np.asarray(table[0], FLOAT))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_named_also_in_a_later_chunk(bad, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    table = np.ones((7, 2), np.float32)
    table[5, 1] = bad
    with pytest.raises(ValueError, match="`observations` has a NaN or an infinity, first in row 5"):
        Normaliser.from_observations(table)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match="`observations` must have at least one row"):
        Normaliser.from_observations(np.zeros((0, 2), np.float32))
    with pytest.raises(ValueError, match="`scale` must be above 0 and finite, and not a subnormal"):
        Normaliser(0.0, np.float32(1e-40))


def test_no_number_of_it_is_trained_whatever_is_differentiated():
    normaliser = Normaliser(np.array([1.0, -2.0]), np.array([0.5, 3.0]))
    assert not jax.tree.leaves(fz.partition_trainable(normaliser)[0])

    def loss(normaliser, x):
        return jnp.sum(normaliser.normalise(x) ** 2 + normaliser.restore(x))

    slopes = eqx.filter_grad(loss)(jax.tree.map(jnp.asarray, normaliser), jnp.array([0.3, 0.7]))
    assert len(jax.tree.leaves(slopes)) == 2
    for slope in jax.tree.leaves(slopes):
        np.testing.assert_array_equal(slope, 0)


def test_two_in_a_row_are_one(getkey):
    first = Normaliser(np.array([1.0, -2.0]), np.array([0.5, 300.0]))
    second = Normaliser(np.array([0.1, 0.2]), np.array([3.0, 0.25]))
    x = jnp.array([0.7, 50.0], FLOAT)
    z = second.normalise(first.normalise(x))
    np.testing.assert_allclose(first.followed_by(second).normalise(x), z, rtol=1e-5)
    np.testing.assert_allclose(first.followed_by(second).restore(z), first.restore(second.restore(z)), rtol=1e-5)
