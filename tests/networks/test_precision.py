from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.learner.seeds import in_precision
from floqzoo.networks import UNetField, with_compute_dtype
from floqzoo.networks.precision import with_cast_weights


BUILDS = [
    partial(fz.MLP, 3, 2, hidden=(16, 16), layer_norm=True),
    partial(fz.ResidualMLP, 3, 2, width=16, blocks=2, block_depth=2, layer_norm=True),
]


@pytest.mark.parametrize("build", BUILDS)
def test_products_are_rounded_and_nothing_else(build, getkey):
    network = build(key=getkey())
    rounded = with_compute_dtype(network, jnp.bfloat16)
    for ours, theirs in zip(jax.tree.leaves(rounded), jax.tree.leaves(network), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    x = jax.random.normal(getkey(), (3,))
    exact, near = network(x), rounded(x)
    assert near.dtype == exact.dtype
    assert not np.array_equal(near, exact)
    # bfloat16 has 8 bits: a rounding is one part in 256, and there are a few of them.
    np.testing.assert_allclose(near, exact, atol=0.05 * float(jnp.abs(exact).max()))
    jaxpr = str(jax.make_jaxpr(rounded)(x))
    assert "bf16" in jaxpr
    assert "bf16" not in str(jax.make_jaxpr(with_compute_dtype(rounded, x.dtype))(x))


def test_the_precision_of_the_parameters_changes_nothing(getkey):
    build = partial(fz.Dense, 3, 2)
    key = getkey()
    assert eqx.tree_equal(in_precision(lambda key: build(key=key), "float32")(key), build(key=jax.random.clone(key)))


@pytest.mark.parametrize("build", BUILDS)
def test_parameters_that_are_cast_once_give_the_same_bits(build, getkey):
    """Those of layers; the norms stay as they are."""
    network = jax.tree.map(lambda leaf: leaf + 0.1, with_compute_dtype(build(key=getkey()), jnp.bfloat16))
    cast, x = with_cast_weights(network), jax.random.normal(getkey(), (3,))
    np.testing.assert_array_equal(cast(x), network(x))
    dtypes = {path[-1].name: leaf.dtype for path, leaf in jax.tree_util.tree_leaves_with_path(cast)}
    assert dtypes == {"weight": jnp.bfloat16, "bias": jnp.bfloat16, "scale": jnp.float32, "shift": jnp.float32}


def test_it_is_the_network_that_was_built_so(getkey):
    key, x = getkey(), jax.random.normal(getkey(), (3,))
    built = fz.MLP(3, 2, hidden=(16,), dtype=jnp.bfloat16, key=jax.random.clone(key))
    turned = with_compute_dtype(fz.MLP(3, 2, hidden=(16,), key=key), "bfloat16")
    assert jax.tree.structure(built) == jax.tree.structure(turned)
    np.testing.assert_array_equal(built(x), turned(x))


def test_it_reaches_every_layer_of_a_field(getkey):
    field = UNetField(2, 3, widths=(8, 4), embedding=4, key=getkey())
    jaxpr = jax.make_jaxpr(lambda f, c, t, x: f.velocity(t, x, f.encode(c)))(
        with_compute_dtype(field, jnp.bfloat16), jnp.ones(3), jnp.asarray(0.5), jnp.ones(2)
    )
    products = [line for line in str(jaxpr).splitlines() if "dot_general" in line]
    assert products
    assert all("bf16" in line for line in products)
