"""A network that embeds groups of inputs separately and concatenates the embeddings."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float

from floqzoo.networks.dense import Dense
from floqzoo.networks.layer_norm import LayerNorm
from floqzoo.typing import Array, Key


class InputEmbedding(eqx.Module):
    r"""Embeds one group of inputs, $\operatorname{ReLU}(W_2 \tanh(\operatorname{norm}(W_1 x)))$."""

    first: Dense
    norm: LayerNorm
    second: Dense

    def __init__(self, in_features: int, width: int, out_features: int, *, dtype: DTypeLike | None, key: Key):
        first_key, second_key = jax.random.split(key)
        self.first = Dense(in_features, width, dtype=dtype, key=first_key)
        self.norm = LayerNorm(width)
        self.second = Dense(width, out_features, dtype=dtype, key=second_key)

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        """Returns the embedding of one group of inputs."""
        return jax.nn.relu(self.second(jnp.tanh(self.norm(self.first(x)))))


class EmbeddingNetwork(eqx.Module):
    r"""A network that embeds each group of inputs separately, and applies a ReLU trunk $h$ and a linear layer $W$ to
    the concatenated embeddings: $W \, h([e_1(x_1), \dots, e_k(x_k)])$.

    Each group $x_i$ is a concatenation of input vectors. For example, the forward map of FB (the forward-backward
    representation) embeds the groups $(s, z)$ and $(s, a)$.

    - `groups`: The size of each group $x_i$, at least 1.
    - `out_features`: The size of the output.
    - `width`: The width of the first layer of each embedding, and of the layers of the trunk.
    - `embedding`: The size of each embedding.
    - `trunk_layers`: The number of hidden layers in the trunk, at least 0.
    - `output_scale`: The `scale` of the last layer's initial weight, as in [`Dense`][floqzoo.networks.dense.Dense].
    - `dtype`: As in [`MLP`][floqzoo.networks.mlp.MLP].

    **Raises** `ValueError` if `groups` is empty, or a number is out of range.

    Source: metamotivo, the code of the group that proposed FB. That code uses an orthogonal initialisation; this
    network is initialised as in `Dense`.
    """

    embeddings: tuple[InputEmbedding, ...]
    trunk: tuple[Dense, ...]
    head: Dense

    def __init__(
        self,
        groups: tuple[int, ...],
        out_features: int,
        *,
        width: int = 1024,
        embedding: int = 512,
        trunk_layers: int = 1,
        output_scale: float = 1.0,
        dtype: DTypeLike | None = None,
        key: Key,
    ):
        if not groups:
            raise ValueError("`groups` must have at least one group of inputs; got none.")
        if trunk_layers < 0:
            raise ValueError(f"`trunk_layers` must be at least 0; got {trunk_layers}.")
        *keys, head_key = jax.random.split(key, len(groups) + trunk_layers + 1)
        embedding_keys, trunk_keys = keys[: len(groups)], keys[len(groups) :]
        self.embeddings = tuple(
            InputEmbedding(size, width, embedding, dtype=dtype, key=k)
            for size, k in zip(groups, embedding_keys, strict=True)
        )
        sizes = (len(groups) * embedding, *(width for _ in range(trunk_layers)))
        self.trunk = tuple(
            Dense(a, b, dtype=dtype, key=k) for a, b, k in zip(sizes[:-1], sizes[1:], trunk_keys, strict=True)
        )
        self.head = Dense(sizes[-1], out_features, scale=output_scale, dtype=dtype, key=head_key)

    def __call__(self, *groups: Float[Array, " _"]) -> Float[Array, " out"]:
        """Returns the output for one input; each argument is the vector of one group."""
        hidden = jnp.concatenate([embed(x) for embed, x in zip(self.embeddings, groups, strict=True)])
        for layer in self.trunk:
            hidden = jax.nn.relu(layer(hidden))
        return self.head(hidden).astype(jnp.result_type(groups[0]))
