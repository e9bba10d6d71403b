"""The multilayer perceptron (MLP) of FQL and floq."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float

from floqzoo.networks.dense import Dense
from floqzoo.networks.layer_norm import LayerNorm
from floqzoo.typing import Array, Key


class Activated(eqx.Module):
    """An activation followed by an optional layer norm, in the same order as in floq's networks."""

    norm: LayerNorm | None
    activation: Callable[[Any], Any] = eqx.field(static=True)

    def __init__(self, width: int, layer_norm: bool, activation: Callable[[Any], Any]):
        self.norm = LayerNorm(width) if layer_norm else None
        self.activation = activation

    def __call__(self, hidden: Float[Array, " width"]) -> Float[Array, " width"]:
        """Returns the activations of a layer, given the pre-activations."""
        hidden = self.activation(hidden)
        return hidden if self.norm is None else self.norm(hidden)


class MLP(eqx.Module):
    """A multilayer perceptron: hidden layers (dense, activation, optional layer norm) and a linear output layer.

    - `in_features`, `out_features`: The sizes of the input and the output, at least 1.
    - `hidden`: The sizes of the hidden layers, of which there must be at least one. The papers use four of size 512.
    - `layer_norm`: Whether activations are normalised. The papers normalise them in critics, but not in actors.
    - `output_scale`: The `scale` of the last layer's initial weight, as in [`Dense`][floqzoo.networks.dense.Dense].
    - `activation`: An element-wise function. The default is the tanh approximation of GELU, as in flax.
    - `dtype`: The dtype of the matrix products, such as `jnp.bfloat16`; None for no cast. The output has the dtype of
      the input.

    Source: floq (arXiv 2509.06863) and FQL (arXiv 2502.02538), official code.
    """

    stem: Dense
    activated: tuple[Activated, ...]
    layers: tuple[Dense, ...]

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden: tuple[int, ...] = (512, 512, 512, 512),
        layer_norm: bool = False,
        output_scale: float = 1.0,
        activation: Callable[[Any], Any] = jax.nn.gelu,
        dtype: DTypeLike | None = None,
        key: Key,
    ):
        if not hidden:
            raise ValueError(f"`hidden` must contain the size of at least one layer; got {hidden}.")
        sizes = (in_features, *hidden, out_features)
        keys = jax.random.split(key, len(hidden) + 1)
        scales = (*(1.0 for _ in hidden), output_scale)
        self.stem, *rest = (
            Dense(a, b, scale=scale, dtype=dtype, key=k)
            for a, b, scale, k in zip(sizes[:-1], sizes[1:], scales, keys, strict=True)
        )
        self.layers = tuple(rest)
        self.activated = tuple(Activated(width, layer_norm, activation) for width in hidden)

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        """Returns the output for one input."""
        return self.body(self.stem(x)).astype(jnp.result_type(x))

    def body(self, hidden: Float[Array, " width"]) -> Float[Array, " out"]:
        """Returns the output of the network, given the pre-activation of the first layer."""
        return self.layers[-1](self.features(hidden))

    def features(self, hidden: Float[Array, " width"]) -> Float[Array, " last"]:
        """Returns the activations of the last hidden layer, given the pre-activation of the first layer."""
        for activated, layer in zip(self.activated[:-1], self.layers[:-1], strict=True):
            hidden = layer(activated(hidden))
        return self.activated[-1](hidden)
