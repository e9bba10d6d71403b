"""Functions for network inputs that consist of several parts, such as a pixel observation and an action."""

from itertools import groupby

import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.protocols import LinearLayer, Network
from floqzoo.typing import Array, Condition


def product_of_parts(layer: LinearLayer, *parts: Condition) -> Float[Array, " out"]:
    """Returns the contribution of `parts`, the leading inputs of a layer, to the layer's output, without the bias.

    Consecutive parts of the same dtype are concatenated, so they take only one matrix product. Parts of different
    dtypes are not joined, so a pixel observation stays uint8 until it is encoded, and is encoded only once if a caller
    applies `jax.vmap` over actions only.
    """
    product, start = None, 0
    for _, group in groupby(map(jnp.asarray, parts), lambda part: part.dtype):
        x = jnp.concatenate(list(group))
        share = layer.part(x, start)
        product, start = (share if product is None else product + share), start + x.shape[-1]
    return layer.part(jnp.zeros(0), 0) if product is None else product


def of_parts(network: Network, *parts: Condition) -> Float[Array, " out"]:
    """Returns the output of a network for an input that is given in one or more parts."""
    parts = tuple(map(jnp.asarray, parts))
    if len({part.dtype for part in parts}) == 1:
        return network(jnp.concatenate(parts))
    stem = network.stem
    return network.body(stem.with_bias(product_of_parts(stem, *parts))).astype(parts[-1].dtype)
