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
    """The first layer of a `PixelNetwork`, which encodes the observation and then applies a linear layer.

    Inputs are indexed as if the observation were not encoded, so code that uses the network need not know about the
    encoder.

    - `encoder`: The encoder of observations.
    - `linear`: The linear layer. It takes the features of the observation, followed by the other inputs.
    """

    encoder: ImpalaEncoder
    linear: LinearLayer

    def __call__(self, observation: UInt8[Array, " bytes"]) -> Float[Array, " out"]:
        """Returns the output for an observation without other inputs."""
        return self.with_bias(self.part(observation, 0))

    def part(self, x: Real[Array, " part"], start: int) -> Float[Array, " out"]:
        """Returns the contribution of `x` to the output, without the bias.

        `x` is either the whole observation, with a `start` of 0, or a slice of the inputs that follow it.

        **Raises** `ValueError` if `x` is only a part of the observation, if it contains other inputs in addition to the
        observation, or if it is an observation whose dtype is not uint8.
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
        """Adds the bias to `product`, which is the sum of the contributions that `part` returns."""
        return self.linear.with_bias(product)


class PixelNetwork(eqx.Module):
    """A network for pixel observations: an encoder, followed by a network that takes the features and other inputs.

    The members of an [`Ensemble`][floqzoo.networks.Ensemble] of pixel networks share one encoder, as in the official
    code of FQL. All other networks have separate encoders. The encoder is trained together with the network, by the
    same loss.

    - `in_features`: The number of inputs. The observation consists of as many whole frames as fit into this number, and
      the remaining inputs follow it.
    - `out_features`: The size of the output.
    - `build`: Builds the network after the encoder, called as `build(in_features, out_features, key=key)`.
    - `encoder`: Builds the encoder, called as `encoder(frames, frame=frame, key=key)`.
    - `frame`: The height, width and number of channels of a frame; the default is that of OGBench.

    **Raises** `ValueError` if `in_features` is smaller than the number of bytes in a frame.
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
        """The encoder and the first linear layer after it."""
        return PixelStem(self.encoder.shared, self.network.stem)

    def __call__(self, x: UInt8[Array, " bytes"]) -> Float[Array, " out"]:
        """Returns the output for an observation without other inputs.

        For an observation with other inputs, use `floqzoo.networks.input_parts.of_parts`.
        """
        return self.body(self.stem(x))

    def body(self, hidden: Float[Array, " width"]) -> Float[Array, " out"]:
        """Returns the output of the network, given the pre-activation of the first layer."""
        return self.network.body(hidden)

    def features(self, hidden: Float[Array, " width"]) -> Float[Array, " last"]:
        """Returns the input of the output layer, given the pre-activation of the first layer."""
        return self.network.features(hidden)  # pyright: ignore[reportAttributeAccessIssue]
