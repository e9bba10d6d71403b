"""TD-Flow's velocity field, a U-Net of dense layers that are modulated by the time and the condition."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float

from floqzoo.networks.dense import Dense
from floqzoo.networks.film import FiLM
from floqzoo.networks.mlp import MLP
from floqzoo.networks.sinusoidal_time import SinusoidalTime
from floqzoo.protocols import TimeEmbedding
from floqzoo.typing import Array, Condition, Key, Point, Time


class UNetBlock(eqx.Module):
    """A block of a `UNetField`: a dense layer, FiLM, and the Mish activation."""

    dense: Dense
    film: FiLM

    def __init__(self, in_features: int, out_features: int, embedding: int, dtype: DTypeLike | None, key: Key):
        dense_key, film_key = jax.random.split(key)
        self.dense = Dense(in_features, out_features, dtype=dtype, key=dense_key)
        self.film = FiLM(2 * embedding, out_features, dtype=dtype, key=film_key)

    def __call__(self, x: Float[Array, " in"], modulation: Float[Array, " twice"]) -> Float[Array, " out"]:
        """Returns the output of the block; `modulation` contains the scale and the shift of the FiLM layer."""
        return jax.nn.mish(self.film(self.dense(x), modulation))


class UNetCode(eqx.Module):
    """The contribution of the condition, and of the bias, to the modulation of each block."""

    down: tuple[Float[Array, " _"], ...]
    up: tuple[Float[Array, " _"], ...]


class UNetField(eqx.Module):
    r"""A U-Net velocity field $v_\theta(t, x \mid c)$, whose blocks first decrease and then increase in width.

    For widths $(w_1, \dots, w_n)$ the encoder is $x \to w_1 \to \dots \to w_n$, and the decoder $w_n \to w_{n-1} \to
    \dots \to w_1$. The decoder block of width $w_i$ also takes the output of the encoder block of that width (a skip
    connection). A final linear layer computes the velocity. Each block consists of a dense layer, layer norm with FiLM,
    and Mish. One two-layer perceptron encodes the embedded time, and another encodes the condition. Their outputs
    determine the scale and shift in every block. `encode` computes the contribution of the condition once for
    all solver steps.

    - `dim`: The number of coordinates of a point.
    - `condition_features`: The total number of coordinates of the condition.
    - `widths`: The widths $w_1, \dots, w_n$, of which there must be at least two.
    - `embedding`: The size of the hidden layer and of the output of both perceptrons.
    - `time_embedding`: The embedding of the time that the first perceptron takes, such as `SinusoidalTime()`.
    - `dtype`: The dtype of the matrix products, such as `jnp.bfloat16`; None for no cast. The velocity has the dtype of
      the point.

    Source: TD-Flow (arXiv 2503.09817), appendix C, which describes this architecture. The widths, the number of levels
    and the embedding sizes of TD-Flow are not published; the defaults here are our choice.
    """

    time_embedding: TimeEmbedding
    time_network: MLP
    condition_network: MLP
    down: tuple[UNetBlock, ...]
    up: tuple[UNetBlock, ...]
    head: Dense
    condition_features: int = eqx.field(static=True)
    embedding: int = eqx.field(static=True)

    def __init__(
        self,
        dim: int,
        condition_features: int,
        *,
        widths: tuple[int, ...] = (512, 256, 128),
        embedding: int = 256,
        time_embedding: TimeEmbedding = SinusoidalTime(),
        dtype: DTypeLike | None = None,
        key: Key,
    ):
        if len(widths) < 2:
            raise ValueError(f"`widths` must have at least two levels; got {widths}.")
        time_key, condition_key, head_key, key = jax.random.split(key, 4)
        keys = iter(jax.random.split(key, 2 * len(widths) - 1))

        def reader(features: int, key: Key) -> MLP:
            return MLP(features, embedding, hidden=(embedding,), activation=jax.nn.mish, dtype=dtype, key=key)

        def block(in_features: int, out_features: int) -> UNetBlock:
            return UNetBlock(in_features, out_features, embedding, dtype, next(keys))

        self.time_embedding = time_embedding
        self.time_network = reader(time_embedding.time_features, time_key)
        self.condition_network = reader(condition_features, condition_key)
        self.down = tuple(block(a, b) for a, b in itertools.pairwise((dim, *widths)))
        upward = widths[::-1]
        self.up = tuple(block(a + b, b) for a, b in itertools.pairwise(upward))
        self.head = Dense(widths[0], dim, dtype=dtype, key=head_key)
        self.condition_features = condition_features
        self.embedding = embedding

    def encode(self, *condition: Condition) -> UNetCode:
        """Returns the contribution of the condition to the modulation of every block.

        **Raises** `ValueError` if the parts of the condition do not have `condition_features` coordinates in total.
        """
        size = sum(part.shape[-1] for part in condition)
        if size != self.condition_features:
            raise ValueError(
                f"`condition` must have {self.condition_features} features in total (`condition_features`); "
                f"got {' + '.join(str(part.shape[-1]) for part in condition) or '0'} = {size}."
            )
        read = self.condition_network(jnp.concatenate(condition))

        def share(block: UNetBlock) -> Float[Array, " twice"]:
            return block.film.modulation.with_bias(block.film.modulation.part(read, 0))

        return UNetCode(tuple(map(share, self.down)), tuple(map(share, self.up)))

    def velocity(self, t: Time, x: Point, code: UNetCode) -> Point:
        """Returns the velocity at time `t` and point `x`, in the dtype of `x`."""
        time = self.time_network(self.time_embedding.embed_time(t)).astype(jnp.result_type(x))

        def apply(block: UNetBlock, hidden: Float[Array, " in"], share: Float[Array, " twice"]) -> Float[Array, " out"]:
            return block(hidden, share + block.film.modulation.part(time, self.embedding).astype(share.dtype))

        hidden, skips = x, []
        for block, share in zip(self.down, code.down, strict=True):
            hidden = apply(block, hidden, share)
            skips.append(hidden)
        for block, share, skip in zip(self.up, code.up, skips[-2::-1], strict=True):
            hidden = apply(block, jnp.concatenate([hidden, skip]), share)
        return self.head(hidden).astype(jnp.result_type(x))
