"""The residual network in floq's code."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float

from floqzoo.networks.dense import Dense
from floqzoo.networks.mlp import Activated
from floqzoo.typing import Array, Key


class ResidualBlock(eqx.Module):
    """A residual block, $x + f(x)$, where $f$ has `depth` layers (dense, activation, optional layer norm)."""

    layers: tuple[Dense, ...]
    activated: tuple[Activated, ...]

    def __init__(
        self,
        width: int,
        depth: int,
        layer_norm: bool,
        activation: Callable[[Any], Any],
        dtype: DTypeLike | None,
        key: Key,
    ):
        self.layers = tuple(Dense(width, width, dtype=dtype, key=k) for k in jax.random.split(key, depth))
        self.activated = tuple(Activated(width, layer_norm, activation) for _ in range(depth))

    def __call__(self, x: Float[Array, " width"]) -> Float[Array, " width"]:
        """Returns the output of the block."""
        hidden = x
        for layer, activated in zip(self.layers, self.activated, strict=True):
            hidden = activated(layer(hidden))
        return x + hidden


class ResidualMLP(eqx.Module):
    """A residual network: a dense stem, `blocks` residual blocks of `block_depth` layers, and a linear output layer.

    - `in_features`, `out_features`, `width`: The sizes of the input, the output and the hidden layers, at least 1.
    - `blocks`, `block_depth`: The number of blocks, and the number of layers per block, at least 1. floq's code uses 2
      and 4.
    - `layer_norm`, `activation`, `dtype`: As in [`MLP`][floqzoo.networks.mlp.MLP].

    Source: floq (arXiv 2509.06863), official code, `use_resnets`.
    """

    stem: Dense
    stem_activated: Activated
    blocks: tuple[ResidualBlock, ...]
    head: Dense

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        width: int = 512,
        blocks: int = 2,
        block_depth: int = 4,
        layer_norm: bool = True,
        activation: Callable[[Any], Any] = jax.nn.gelu,
        dtype: DTypeLike | None = None,
        key: Key,
    ):
        for name, count in (("blocks", blocks), ("block_depth", block_depth)):
            if count < 1:
                raise ValueError(f"`{name}` must be at least 1; got {count}.")
        stem_key, head_key, *block_keys = jax.random.split(key, blocks + 2)
        self.stem = Dense(in_features, width, dtype=dtype, key=stem_key)
        self.stem_activated = Activated(width, layer_norm, activation)
        self.blocks = tuple(ResidualBlock(width, block_depth, layer_norm, activation, dtype, k) for k in block_keys)
        self.head = Dense(width, out_features, dtype=dtype, key=head_key)

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        """Returns the output for one input."""
        return self.body(self.stem(x)).astype(jnp.result_type(x))

    def body(self, hidden: Float[Array, " width"]) -> Float[Array, " out"]:
        """Returns the output of the network, given the pre-activation of the first layer."""
        return self.head(self.features(hidden))

    def features(self, hidden: Float[Array, " width"]) -> Float[Array, " width"]:
        """Returns the output of the last block, given the pre-activation of the first layer."""
        hidden = self.stem_activated(hidden)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden
