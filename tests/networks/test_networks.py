"""MLP and residual MLP against plain loops, their refusals, and their rounding in bfloat16."""

import itertools
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz


def gelu(x):
    """GELU in its tanh form."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def norm(x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-6)


def dense(layer, x):
    return x @ np.asarray(layer.weight) + np.asarray(layer.bias)


def perturbed(network, key):
    """The network with biases, scales and shifts that are not what they begin as."""
    leaves, form = jax.tree.flatten(network)
    keys = jax.random.split(key, len(leaves))
    return form.unflatten([leaf + 0.3 * jax.random.normal(k, leaf.shape) for leaf, k in zip(leaves, keys, strict=True)])


def scaled(activated, x):
    """GELU, then layer norm with its scale and shift, where there is one."""
    hidden = gelu(x)
    return hidden if activated.norm is None else norm(hidden) * np.asarray(activated.norm.scale) + activated.norm.shift


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("hidden", [(8,), (8, 5, 8)])
def test_an_mlp_is_dense_gelu_norm_again_and_again(hidden, layer_norm, getkey):
    network = perturbed(fz.MLP(4, 3, hidden=hidden, layer_norm=layer_norm, key=getkey()), getkey())
    x = np.linspace(-1, 2, 4, dtype=np.float32)
    wanted = dense(network.stem, x)
    for activated, layer in zip(network.activated, network.layers, strict=True):
        wanted = dense(layer, scaled(activated, wanted))
    np.testing.assert_allclose(network(jnp.asarray(x)), wanted, rtol=1e-4, atol=1e-5)
    assert [layer.weight.shape for layer in (network.stem, *network.layers)] == list(
        zip((4, *hidden), (*hidden, 3), strict=True)
    )


@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_residual_mlp_adds_each_block_to_what_it_read(layer_norm, getkey):
    make = partial(fz.ResidualMLP, width=8, blocks=2, block_depth=3, layer_norm=layer_norm)
    network = perturbed(make(4, 3, key=getkey()), getkey())
    x = np.linspace(-1, 2, 4, dtype=np.float32)
    wanted = scaled(network.stem_activated, dense(network.stem, x))
    for block in network.blocks:
        hidden = wanted
        for layer, activated in zip(block.layers, block.activated, strict=True):
            hidden = scaled(activated, dense(layer, hidden))
        wanted = wanted + hidden
    np.testing.assert_allclose(network(jnp.asarray(x)), dense(network.head, wanted), rtol=1e-4, atol=1e-5)
    assert len(network.blocks) == 2
    assert all(len(block.layers) == 3 for block in network.blocks)


NETWORKS = {
    "MLP": partial(fz.MLP, hidden=(32, 32)),
    "MLP with norm": partial(fz.MLP, hidden=(32, 32), layer_norm=True),
    "ResidualMLP": partial(fz.ResidualMLP, width=32, blocks=2, block_depth=2),
}
over_networks = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS.keys())


@over_networks
def test_layers_begin_with_weights_of_their_own(build, getkey):
    network = build(5, 3, key=getkey())
    weights = [np.ravel(leaf)[:8] for leaf in jax.tree.leaves(network) if leaf.ndim == 2]
    assert len({tuple(w / np.abs(w).max()) for w in weights}) == len(weights)


@over_networks
def test_bfloat16_is_within_its_rounding_of_float32(build, getkey):
    """Each layer rounds its inputs, weights and products to 8 bits: a few roundings a layer, which add up at random."""
    x = jax.random.normal(getkey(), (64, 5))
    exact, coarse = (build(5, 3, dtype=dtype, key=jax.random.key(1)) for dtype in (None, jnp.bfloat16))
    wanted, found = jax.vmap(exact)(x), jax.vmap(coarse)(x)
    layers = sum(leaf.ndim == 2 for leaf in jax.tree.leaves(exact))
    error = np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2))
    assert found.dtype == x.dtype
    assert 2**-12 < error < 4 * layers * 2**-9
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(coarse))


@pytest.mark.slow
@over_networks
def test_gradients_of_bfloat16_compute_are_those_of_float32_parameters(build, getkey):
    x = jax.random.normal(getkey(), (5,))

    def gradient(dtype):
        network = build(5, 3, dtype=dtype, key=jax.random.key(1))
        return eqx.filter_grad(lambda network: jnp.sum(network(x) ** 2))(network)

    wanted, found = gradient(None), gradient(jnp.bfloat16)
    for mine, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert mine.dtype == jnp.float32
        np.testing.assert_allclose(mine, other, atol=0.1 * float(jnp.max(jnp.abs(other))) + 1e-3)


def test_networks_without_layers_are_refused(getkey):
    with pytest.raises(ValueError, match="`hidden` must contain the size of at least one layer"):
        fz.MLP(3, 1, hidden=(), key=getkey())
    for name in ("blocks", "block_depth"):
        with pytest.raises(ValueError, match=f"`{name}` must be at least 1; got 0"):
            fz.ResidualMLP(3, 1, width=4, **{name: 0}, key=getkey())


@pytest.mark.parametrize("groups", [(5,), (2, 3)])
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_the_parts_of_an_embedding_network_have_sizes_of_their_own(groups, layers):
    build = partial(fz.EmbeddingNetwork, groups, 3, width=7, embedding=4, trunk_layers=layers, key=jax.random.key(0))
    network = eqx.filter_eval_shape(build)
    inputs = [jax.ShapeDtypeStruct((size,), jnp.float32) for size in groups]
    assert eqx.filter_eval_shape(network, *inputs).shape == (3,)
    hidden = [layer.weight.shape for layer in (*network.trunk, network.head)]
    sizes = [len(groups) * 4, *layers * [7], 3]
    assert hidden == list(itertools.pairwise(sizes))
