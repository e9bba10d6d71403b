"""A velocity field that consists of one network and two embeddings."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.networks.input_parts import product_of_parts
from floqzoo.networks.mlp import MLP
from floqzoo.networks.point_embedding import RawPoint
from floqzoo.networks.time_embedding import RawTime
from floqzoo.protocols import Network, PointEmbedding, TimeEmbedding
from floqzoo.typing import Array, Condition, Key, Point, Time


class ConditionalField(eqx.Module):
    r"""A velocity field computed by one network: $v_\theta(t, x \mid c) = \text{network}(c, \text{embed}(x),
    \text{embed}(t))$.

    Because the first layer of the network is linear, the contribution of the condition $c$ to that layer's output can
    be computed separately. `encode` computes it once for all solver steps and noise samples.

    - `dim`: The number of coordinates of a point.
    - `condition_features`: The total number of coordinates of the condition; 0 for a field without a condition.
    - `build`: Builds the network, called as `build(in_features, out_features, key=key)`. To change the sizes of the
      hidden layers, pass for example `functools.partial(MLP, hidden=(256, 256))`.
    - `time_embedding`, `point_embedding`: The embeddings of the time and the point, such as `FourierTime()` and
      `RawPoint()`.
    """

    network: Network
    time_embedding: TimeEmbedding
    point_embedding: PointEmbedding
    condition_features: int = eqx.field(static=True)

    def __init__(
        self,
        dim: int,
        condition_features: int,
        *,
        build: Callable[..., Network] = MLP,
        time_embedding: TimeEmbedding = RawTime(),
        point_embedding: PointEmbedding = RawPoint(),
        key: Key,
    ):
        features = condition_features + point_embedding.point_features(dim) + time_embedding.time_features
        self.network = build(features, dim, key=key)
        self.time_embedding = time_embedding
        self.point_embedding = point_embedding
        self.condition_features = condition_features

    def encode(self, *condition: Condition) -> Float[Array, " width"]:
        """Returns the contribution of the condition, and of the bias, to the pre-activation of the first layer.

        **Raises** `ValueError` if the parts of the condition do not have `condition_features` coordinates in total.
        """
        size = sum(part.shape[-1] for part in condition)
        if size != self.condition_features:
            raise ValueError(
                f"`condition` must have {self.condition_features} features in total (`condition_features`); "
                f"got {' + '.join(str(part.shape[-1]) for part in condition) or '0'} = {size}."
            )
        stem = self.network.stem
        return stem.with_bias(product_of_parts(stem, *condition))

    def velocity(self, t: Time, x: Point, code: Float[Array, " width"]) -> Point:
        """Returns the velocity at time `t` and point `x`, in the dtype of `x`."""
        return self.network.body(self._hidden(t, x, code)).astype(jnp.result_type(x))

    def last_features(self, t: Time, x: Point, code: Float[Array, " width"]) -> Float[Array, " last"]:
        """Returns the input of the last linear layer; the network must have a method `features`, as an `MLP` does."""
        return self.network.features(self._hidden(t, x, code))  # pyright: ignore[reportAttributeAccessIssue]

    def _hidden(self, t: Time, x: Point, code: Float[Array, " width"]) -> Float[Array, " width"]:
        """The pre-activation of the first layer; `code` is the contribution of the condition."""
        features = jnp.concatenate([self.point_embedding.embed_point(x), self.time_embedding.embed_time(t)])
        return code + self.network.stem.part(features, self.condition_features)
