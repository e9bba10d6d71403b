"""The encoder of pixels is that of the papers, written here in NumPy, and a network with it is the network of its features."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import floqzoo as fz
from floqzoo.networks.impala_encoder import Convolution
from floqzoo.networks.input_parts import of_parts
from floqzoo.testing.families import narrow, narrow_residual


def convolved(layer, x):
    """The sum over the nine neighbours of each pixel, with zeros outside of the image."""
    height, width, _ = x.shape
    kernel, bias = np.asarray(layer.kernel, np.float64), np.asarray(layer.bias, np.float64)
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    out = np.zeros((height, width, len(bias))) + bias
    for row in range(3):
        for column in range(3):
            out += padded[row : row + height, column : column + width] @ kernel[row, column]
    return out


def halved(x):
    """The maximum over three rows and columns, from every second one on; of an odd size also from the one before the first."""
    height, width, channels = x.shape
    out = np.full((math.ceil(height / 2), math.ceil(width / 2), channels), -np.inf)
    for i, j in np.ndindex(*out.shape[:2]):
        rows, columns = (slice(max(0, 2 * k - n % 2), 2 * k - n % 2 + 3) for k, n in ((i, height), (j, width)))
        out[i, j] = x[rows, columns].max(axis=(0, 1))
    return out


def gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def features(encoder, observation):
    frames = np.asarray(observation).reshape(encoder.frames, *encoder.frame)
    x = np.concatenate(list(frames), axis=2) / 255
    for stage in encoder.stages:
        x = halved(convolved(stage.first, x))
        for first, second in stage.blocks:
            x = x + convolved(second, np.maximum(convolved(first, np.maximum(x, 0)), 0))
    weight, bias = (np.asarray(a, np.float64) for a in (encoder.head.weight, encoder.head.bias))
    return gelu(np.maximum(x, 0).reshape(-1) @ weight + bias)


def with_biases(encoder, seed):
    """The encoder with biases that are not 0, which a new one has."""
    random = np.random.default_rng(seed)

    def biased(leaf):
        return leaf + 0.1 * random.normal(size=leaf.shape).astype(leaf.dtype) if leaf.ndim == 1 else leaf

    return jax.tree.map(biased, encoder)


@pytest.mark.slow
@given(
    frames=st.integers(1, 3),
    frame=st.tuples(st.integers(5, 9), st.integers(5, 9), st.sampled_from((1, 3))),
    channels=st.sampled_from(((2,), (2, 3))),
    blocks=st.sampled_from((1, 2)),
    seed=st.integers(0, 9),
)
def test_the_features_are_those_of_the_papers(frames, frame, channels, blocks, seed):
    build_key, image_key = jax.random.split(jax.random.key(seed))
    encoder = fz.ImpalaEncoder(frames, frame=frame, channels=channels, blocks=blocks, features=4, key=build_key)
    encoder = with_biases(encoder, seed)
    observation = jax.random.bits(image_key, (encoder.observation_dim,), jnp.uint8)
    found = eqx.filter_jit(encoder)(observation)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, features(encoder, observation), rtol=2e-4, atol=2e-5)


def test_impala_small_has_the_published_sizes(getkey):
    encoder = eqx.filter_eval_shape(fz.impala_small, 3, key=getkey())
    shapes = [
        [stage.first.kernel.shape, *(layer.kernel.shape for block in stage.blocks for layer in block)]
        for stage in encoder.stages
    ]
    assert shapes == [
        [(3, 3, 9, 16), (3, 3, 16, 16), (3, 3, 16, 16)],
        [(3, 3, 16, 32), (3, 3, 32, 32), (3, 3, 32, 32)],
        [(3, 3, 32, 32), (3, 3, 32, 32), (3, 3, 32, 32)],
    ]
    assert encoder.head.weight.shape == (8 * 8 * 32, 512)
    assert encoder.observation_dim == 3 * 64 * 64 * 3


def test_kernels_are_initialised_as_dense_layers_are(getkey):
    kernel = Convolution(8, 24, key=getkey()).kernel
    limit = math.sqrt(6 / (9 * (8 + 24)))
    assert 0.98 * limit < jnp.abs(kernel).max() <= limit
    np.testing.assert_allclose(jnp.std(kernel), limit / math.sqrt(3), rtol=0.05)


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("frames", 0, "at least 1; got 0"),
        ("frame", (64, 0, 3), r"one or more numbers, each at least 1; got \(64, 0, 3\)"),
        ("channels", (), r"one or more numbers, each at least 1; got \(\)"),
        ("blocks", 0, "at least 1; got 0"),
        ("features", 0, "at least 1; got 0"),
    ],
)
def test_sizes_below_one_are_refused(getkey, name, numbers, message):
    arguments = {"frames": 1, name: numbers}
    with pytest.raises(ValueError, match=f"`{name}` must be {message}"):
        fz.ImpalaEncoder(arguments.pop("frames"), **arguments, key=getkey())


FRAME = (4, 6, 3)
BYTES = 2 * math.prod(FRAME)


def small_encoder(frames, *, frame, key):
    return fz.ImpalaEncoder(frames, frame=frame, channels=(2,), features=5, key=key)


def pixel_network(in_features, out_features, *, build=narrow, key):
    return fz.PixelNetwork(in_features, out_features, build=build, encoder=small_encoder, frame=FRAME, key=key)


def image(key, *shape):
    return jax.random.bits(key, (*shape, BYTES), jnp.uint8)


@pytest.mark.parametrize("build", [narrow, narrow_residual])
def test_a_pixel_network_is_its_network_of_the_features_and_what_follows(getkey, build):
    network = pixel_network(BYTES + 2, 3, build=build, key=getkey())
    observation, action = image(getkey()), jax.random.normal(getkey(), (2,))
    assert isinstance(network, fz.protocols.Network)
    wanted = network.network(jnp.concatenate([network.encoder.shared(observation), action]))
    np.testing.assert_allclose(of_parts(network, observation, action), wanted, rtol=1e-5, atol=1e-6)
    alone = pixel_network(BYTES, 3, build=build, key=getkey())
    np.testing.assert_allclose(
        alone(observation), alone.network(alone.encoder.shared(observation)), rtol=1e-5, atol=1e-6
    )


def test_parts_of_one_dtype_are_joined_bit_for_bit(getkey):
    network = narrow(5, 3, key=getkey())
    a, b = jax.random.normal(getkey(), (2,)), jax.random.normal(getkey(), (3,))
    np.testing.assert_array_equal(of_parts(network, a, b), network(jnp.concatenate([a, b])))


def test_other_inputs_than_the_networks_are_refused(getkey):
    network = pixel_network(BYTES + 2, 3, key=getkey())
    with pytest.raises(ValueError, match=r"one uint8 array of shape \(144,\).*got float32\[146\] at offset 0"):
        network.stem.part(jnp.zeros(BYTES + 2), 0)
    with pytest.raises(ValueError, match=r"one uint8 array of shape \(144,\).* at offset 5"):
        network.stem.part(image(getkey())[5:], 5)
    with pytest.raises(
        ValueError, match="`in_features` must be at least 72, the bytes of one frame of 4 x 6 x 3; got 71"
    ):
        pixel_network(71, 3, key=getkey())


@pytest.mark.slow
def test_members_share_one_encoder_and_nothing_else(getkey):
    key = getkey()
    ensemble = fz.Ensemble.build(lambda key: pixel_network(BYTES, 3, key=key), 3, key=key)
    first = pixel_network(BYTES, 3, key=jax.random.split(jax.random.clone(key), 3)[0])
    assert eqx.tree_equal(ensemble.members.encoder, first.encoder)
    observation = image(getkey())
    outputs = ensemble.each(lambda network: network(observation))
    for index in range(3):
        inner = jax.tree.map(lambda leaf, index=index: leaf[index], ensemble.members.network)
        np.testing.assert_allclose(outputs[index], inner(first.encoder.shared(observation)), rtol=1e-5, atol=1e-6)
    assert len(np.unique(np.asarray(outputs), axis=0)) == 3
    extra = jnp.arange(3.0)
    shifted = ensemble.each_with(lambda network, x: network(observation) + x, extra)
    np.testing.assert_allclose(shifted, outputs + extra[:, None], rtol=1e-6)
    with pytest.raises(ValueError, match="share a part cannot be joined"):
        ensemble.joined(ensemble)
    assert not fz.Ensemble.build(lambda key: narrow(2, 1, key=key), 2, key=getkey()).shares
