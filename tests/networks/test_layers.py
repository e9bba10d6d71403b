"""Dense layers and layer norm against their formulas, and how they are initialised."""

from unittest import mock

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

import floqzoo as fz


numbers = st.floats(-4, 4, width=32)


@given(arrays(np.float32, 5, elements=numbers), arrays(np.float32, 3, elements=numbers))
def test_a_dense_layer_is_an_affine_map(x, bias):
    layer = fz.Dense(5, 3, key=jax.random.key(0))
    layer = jax.tree.map(lambda leaf: jnp.asarray(bias) if leaf.ndim == 1 else leaf, layer)
    np.testing.assert_allclose(layer(jnp.asarray(x)), x @ np.asarray(layer.weight) + bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("inputs", "outputs"), [(300, 200), (7, 900)])
def test_weights_are_uniform_within_the_glorot_bound_and_biases_are_zero(inputs, outputs, getkey):
    r"""$U[-\ell, \ell]$ with $\ell^2 = 6 / (\text{in} + \text{out})$, whose variance is $\ell^2 / 3$."""
    layer = fz.Dense(inputs, outputs, key=getkey())
    weight, bound = np.asarray(layer.weight), np.sqrt(6 / (inputs + outputs))
    assert weight.shape == (inputs, outputs)
    assert 0.999 * bound < np.abs(weight).max() <= bound
    # Six standard errors of a mean square of uniform draws, whose fourth moment is 9 / 5 of the variance squared.
    error = 6 * np.sqrt(4 / 5 / weight.size)
    np.testing.assert_allclose(np.mean(weight**2), bound**2 / 3, rtol=error)
    assert abs(weight.mean()) < 6 * bound / np.sqrt(3 * weight.size)
    np.testing.assert_array_equal(layer.bias, np.zeros(outputs))


@pytest.mark.parametrize(("sizes", "name"), [((0, 3), "in_features"), ((3, -1), "out_features")])
def test_a_layer_without_inputs_or_outputs_is_refused(sizes, name, getkey):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1; got"):
        fz.Dense(*sizes, key=getkey())


def normalised(x, epsilon):
    """The textbook: centre, then divide by the root of the mean square."""
    centred = x - x.mean()
    return centred / np.sqrt(np.mean(centred**2) + epsilon)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@given(arrays(np.float64, 6, elements=numbers), st.sampled_from((1e-6, 1e-3)), st.sampled_from((1.0, 1e-3)))
def test_layer_norm_is_the_formula_of_the_textbook(backend, x, epsilon, size):
    """In the form of each backend; also where the variance is of the size of epsilon, and under any scale and shift."""
    scale, shift = np.linspace(-1, 2, 6), np.linspace(0, 1, 6)
    with jax.enable_x64(True), mock.patch.object(jax, "default_backend", return_value=backend):
        norm = fz.LayerNorm(6, epsilon=epsilon)
        norm = eqx.tree_at(lambda norm: (norm.scale, norm.shift), norm, (jnp.asarray(scale), jnp.asarray(shift)))
        found = norm(jnp.asarray(size * x))
    np.testing.assert_allclose(found, scale * normalised(size * x, epsilon) + shift, atol=1e-6)


def test_both_forms_of_layer_norm_have_the_same_values_and_gradients(getkey, monkeypatch):
    """Up to rounding, which is larger in one pass if the mean is far from 0: there, the squares are larger."""
    rows, cotangent = 3.0 + jax.random.normal(getkey(), (8, 64)), jax.random.normal(getkey(), (8, 64))
    norm = fz.LayerNorm(64)

    def value_and_gradients(backend):
        monkeypatch.setattr(jax, "default_backend", lambda: backend)
        value, pull_back = jax.vjp(lambda norm, rows: jax.vmap(norm)(rows), norm, rows)
        return jax.tree.leaves((value, pull_back(cotangent)))

    on_cpu, on_gpu = value_and_gradients("cpu"), value_and_gradients("gpu")
    assert not np.array_equal(on_cpu[0], on_gpu[0])
    for one_pass, two_passes in zip(on_cpu, on_gpu, strict=True):
        np.testing.assert_allclose(one_pass, two_passes, rtol=1e-4, atol=1e-5)


def test_layer_norm_begins_as_flax_does():
    norm = fz.LayerNorm(4)
    assert norm.epsilon == 1e-6
    np.testing.assert_array_equal(norm.scale, np.ones(4))
    np.testing.assert_array_equal(norm.shift, np.zeros(4))


def test_layer_norm_counts_in_single_precision_whatever_it_is_given():
    x = jnp.linspace(-3, 5, 64).astype(jnp.bfloat16)
    found = fz.LayerNorm(64)(x)
    assert found.dtype == jnp.bfloat16
    wanted = normalised(np.asarray(x, dtype=np.float64), 1e-6)
    np.testing.assert_allclose(np.asarray(found, dtype=np.float64), wanted, rtol=2**-8, atol=1e-6)


def test_a_constant_vector_is_normalised_to_zero():
    """Rounding must not make its variance negative."""
    np.testing.assert_allclose(fz.LayerNorm(7)(jnp.full(7, 0.1)), np.zeros(7), atol=1e-4)
