"""TD-Flow's velocity field, written down a second time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.networks import FiLM, SinusoidalTime, UNetField
from floqzoo.testing import Sizes, assert_close, assert_obeys


def small(key, **sizes):
    settings = {"widths": (8, 6, 4), "embedding": 5, "time_embedding": SinusoidalTime(6)} | sizes
    return UNetField(2, 5, key=key, **settings)


@pytest.mark.slow
def test_it_obeys_the_laws_of_velocity_fields(getkey):
    assert_obeys(small(getkey()), Sizes())
    assert_obeys(SinusoidalTime(8))


@pytest.mark.slow
def test_it_is_the_network_that_its_docstring_describes(getkey):
    field = small(getkey())
    t, x, condition = 0.3, np.array([0.5, -1.0], np.float32), np.linspace(-1, 1, 5, dtype=np.float32)

    def mish(x):
        return x * np.tanh(np.log1p(np.exp(x)))

    def dense(layer, x):
        return x @ np.asarray(layer.weight) + np.asarray(layer.bias)

    def two_layers(network, x):
        return dense(network.layers[0], mish(dense(network.stem, x)))

    def block(block, x, modulation):
        hidden = dense(block.dense, x)
        normal = (hidden - hidden.mean()) / np.sqrt(hidden.var() + 1e-6)
        scale, shift = np.split(dense(block.film.modulation, modulation), 2)
        return mish((1 + scale) * normal + shift)

    frequencies = 1000 * 10.0 ** (-4 * np.arange(3) / 2)
    time = np.concatenate([np.sin(frequencies * t), np.cos(frequencies * t)])
    read = np.concatenate([two_layers(field.condition_network, condition), two_layers(field.time_network, time)])
    first = block(field.down[0], x, read)
    second = block(field.down[1], first, read)
    middle = block(field.down[2], second, read)
    third = block(field.up[0], np.concatenate([middle, second]), read)
    last = block(field.up[1], np.concatenate([third, first]), read)

    velocity = field.velocity(t, jnp.asarray(x), field.encode(jnp.asarray(condition)))
    np.testing.assert_allclose(velocity, dense(field.head, last), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_condition_is_read_in_parts(getkey):
    field, condition = small(getkey()), jax.random.normal(getkey(), (5,))
    whole, parts = field.encode(condition), field.encode(condition[:3], condition[3:])
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        assert_close(a, b)
    with pytest.raises(ValueError, match=r"`condition` must have 5 features.*got 3 = 3"):
        field.encode(condition[:3])


def test_film_has_the_moments_that_its_condition_says(getkey):
    film = FiLM(3, 64, key=getkey())
    scale, shift = 1.5, -0.25
    out = film(jax.random.normal(getkey(), (64,)), jnp.concatenate([jnp.full(64, scale), jnp.full(64, shift)]))
    assert_close(jnp.mean(out), shift, scale=1 + scale)
    np.testing.assert_allclose(jnp.std(out), 1 + scale, rtol=1e-4)


@pytest.mark.slow
def test_compute_in_another_dtype_keeps_the_points(getkey):
    field = small(getkey(), dtype=jnp.bfloat16)
    velocity = field.velocity(0.5, jnp.ones(2), field.encode(jnp.ones(5)))
    assert velocity.dtype == jnp.ones(2).dtype


@pytest.mark.parametrize("widths", [(), (8,)])
def test_one_level_is_no_u(getkey, widths):
    with pytest.raises(ValueError, match="`widths` must have at least two levels"):
        small(getkey(), widths=widths)


@pytest.mark.parametrize("features", [2, 7])
def test_sines_and_cosines_come_in_pairs(features):
    with pytest.raises(ValueError, match="`time_features` must be even and at least 4"):
        SinusoidalTime(features)


def test_it_is_exported():
    assert fz.networks.UNetField is UNetField
