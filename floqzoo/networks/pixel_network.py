"""Networks whose first input is a pixel observation."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float, Real, UInt8

from floqzoo.networks.ensemble import Shared
from floqzoo.networks.impala_encoder import ImpalaEncoder
from floqzoo.networks.mlp import MLP
from floqzoo.protocols import LinearLayer, Network
from floqzoo.typing import Array, Key


class PixelStem(eqx.Module):
    """A first layer that is linear in the features of an observation and in the inputs after it.

    Inputs are indexed as if the observation were not encoded, so that code that uses the network need not know the
    encoder.

    - `encoder`: The encoder of observations.
    - `linear`: The linear layer, which takes the features followed by the other inputs.
    """

    encoder: ImpalaEncoder
    linear: LinearLayer

    def __call__(self, observation: UInt8[Array, " bytes"]) -> Float[Array, " out"]:
        """The output for an observation alone."""
        return self.with_bias(self.part(observation, 0))

    def part(self, x: Real[Array, " part"], start: int) -> Float[Array, " out"]:
        """What `x` contributes to the output, without the bias.

        `x` is the whole observation (`start` 0), or a slice of the inputs after it.

        **Raises** `ValueError` if `x` is a slice of the observation, contains more than the observation, or is an
        observation that is not uint8.
        """
        pixels = self.encoder.observation_dim
        if start >= pixels:
            return self.linear.part(x, start - pixels + self.encoder.num_features)
        if start or x.shape != (pixels,) or x.dtype != jnp.uint8:
            raise ValueError(
                f"an observation must be passed as one uint8 array of shape ({pixels},), not joined with other inputs; got "
                f"{x.dtype}{list(x.shape)} at offset {start} of the input."
            )
        return self.linear.part(self.encoder(x), 0)

    def with_bias(self, product: Float[Array, " out"]) -> Float[Array, " out"]:
        """Adds the bias to `product`, the sum of the contributions that `part` returns."""
        return self.linear.with_bias(product)


class PixelNetwork(eqx.Module):
    """An encoder of a pixel observation, then a network that takes the features and other inputs.

    The members of an [`Ensemble`][floqzoo.networks.Ensemble] of such networks share one encoder, as in the official
    code of FQL; any other networks have separate encoders. The encoder is trained with the network, by the same loss.

    - `in_features`: The number of inputs. As many whole frames as fit into this number form the observation; the
      remaining inputs follow it.
    - `out_features`: The size of the output.
    - `build`: Builds the network after the encoder, called as `build(in_features, out_features, key=key)`.
    - `encoder`: Builds the encoder, called as `encoder(frames, frame=frame, key=key)`.
    - `frame`: Height, width and channels of a frame; those of OGBench by default.

    **Raises** `ValueError` if there are fewer inputs than bytes in a frame.
    """

    encoder: Shared[ImpalaEncoder]
    network: Network

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        build: Callable[..., Network] = MLP,
        encoder: Callable[..., ImpalaEncoder] = ImpalaEncoder,
        frame: tuple[int, int, int] = (64, 64, 3),
        key: Key,
    ):
        frames, others = divmod(in_features, math.prod(frame))
        if not frames:
            raise ValueError(
                f"`in_features` must be at least {math.prod(frame)}, the bytes of one frame of {frame[0]} x {frame[1]} x "
                f"{frame[2]}; got {in_features}."
            )
        encoder_key, network_key = jax.random.split(key)
        self.encoder = Shared(encoder(frames, frame=frame, key=encoder_key))
        self.network = build(self.encoder.shared.num_features + others, out_features, key=network_key)

    @property
    def stem(self) -> PixelStem:
        """The encoder and the first layer after it."""
        return PixelStem(self.encoder.shared, self.network.stem)

    def __call__(self, x: UInt8[Array, " bytes"]) -> Float[Array, " out"]:
        """The output for an observation without other inputs; `floqzoo.networks.input_parts.of_parts`
        also takes other inputs."""
        return self.body(self.stem(x))

    def body(self, hidden: Float[Array, " width"]) -> Float[Array, " out"]:
        """The output of the network, given the pre-activation of the first layer."""
        return self.network.body(hidden)

    def features(self, hidden: Float[Array, " width"]) -> Float[Array, " last"]:
        """The input of the output layer, given the pre-activation of the first layer."""
        return self.network.features(hidden)  # pyright: ignore[reportAttributeAccessIssue]
