"""The convolutional encoder for OGBench's visual tasks."""

import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float, UInt8

from floqzoo.networks.dense import Dense
from floqzoo.typing import Array, Key


Pixels = Float[Array, "height width channels"]


class Convolution(eqx.Module):
    r"""A convolution with 3 x 3 kernels and zero padding, which preserves the height and width of an image.

    The kernel is initialised like the weight of a [`Dense`][floqzoo.networks.Dense] layer with $9 \, \text{in}$ inputs
    and $9 \, \text{out}$ outputs, and the bias is 0, as in the official code of FQL.

    - `in_channels`, `out_channels`: The numbers of channels of the input and the output, at least 1.
    """

    kernel: Float[Array, "3 3 in out"]
    bias: Float[Array, " out"]

    def __init__(self, in_channels: int, out_channels: int, *, key: Key):
        for name, size in (("in_channels", in_channels), ("out_channels", out_channels)):
            if size < 1:
                raise ValueError(f"`{name}` must be at least 1; got {size}.")
        self.kernel = jax.nn.initializers.xavier_uniform()(key, (3, 3, in_channels, out_channels))
        self.bias = jnp.zeros(out_channels)

    def __call__(self, x: Float[Array, "height width in"]) -> Float[Array, "height width out"]:
        """Returns the output for one image."""
        product = jax.lax.conv_general_dilated(
            x[None], self.kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return product[0] + self.bias[None, None]


class ImpalaStage(eqx.Module):
    r"""One stage of the encoder: a convolution, max pooling over 3 x 3 pixels with stride 2, and residual blocks.

    Each block computes $x + \operatorname{conv}(\operatorname{ReLU}(\operatorname{conv}(\operatorname{ReLU}(x))))$.
    """

    first: Convolution
    blocks: tuple[tuple[Convolution, Convolution], ...]

    def __init__(self, in_channels: int, out_channels: int, blocks: int, *, key: Key):
        first_key, *keys = jax.random.split(key, 1 + 2 * blocks)
        convolutions = [Convolution(out_channels, out_channels, key=key) for key in keys]
        self.first = Convolution(in_channels, out_channels, key=first_key)
        self.blocks = tuple(zip(convolutions[::2], convolutions[1::2], strict=True))

    def __call__(self, x: Pixels) -> Float[Array, "half_height half_width out"]:
        """Returns the output for one image, with half the height and half the width of the image, rounded up."""
        x = jax.lax.reduce_window(self.first(x), -jnp.inf, jax.lax.max, (3, 3, 1), (2, 2, 1), "SAME")
        for first, second in self.blocks:
            x = x + second(jax.nn.relu(first(jax.nn.relu(x))))
        return x


class ImpalaEncoder(eqx.Module):
    r"""A convolutional encoder of stacked frames: stages of convolutions, followed by a dense layer with GELU.

    An observation is a flat uint8 vector that contains the frames from the oldest to the newest, each flattened from
    shape (height, width, channels). The encoder stacks the frames as the channels of one image, with values in [0, 1].

    - `frames`: The number of frames in an observation, at least 1; 3 in the papers.
    - `frame`: The height, width and number of channels of a frame.
    - `channels`: The number of output channels of each stage; there must be at least one stage.
    - `blocks`: The number of residual blocks in each stage: 1 for `impala_small`, 2 for the encoder of IMPALA.
    - `features`: The number of features that the encoder returns.
    - `dtype`: As in [`MLP`][floqzoo.networks.MLP], for the dense layer. Convolutions use the dtype of their parameters.

    **Raises** `ValueError` if a number is below 1, or `channels` is empty.

    Source: IMPALA (arXiv 1802.01561), figure 3, as `impala_small` in the official code of FQL (arXiv 2502.02538).
    """

    stages: tuple[ImpalaStage, ...]
    head: Dense
    frames: int = eqx.field(static=True)
    frame: tuple[int, int, int] = eqx.field(static=True)

    def __init__(
        self,
        frames: int = 3,
        *,
        frame: tuple[int, int, int] = (64, 64, 3),
        channels: tuple[int, ...] = (16, 32, 32),
        blocks: int = 1,
        features: int = 512,
        dtype: DTypeLike | None = None,
        key: Key,
    ):
        for name, number in (("frames", frames), ("blocks", blocks), ("features", features)):
            if number < 1:
                raise ValueError(f"`{name}` must be at least 1; got {number}.")
        for name, numbers in (("frame", frame), ("channels", channels)):
            if not numbers or min(numbers) < 1:
                raise ValueError(f"`{name}` must be one or more numbers, each at least 1; got {numbers}.")
        height, width, depth = frame
        sizes = (frames * depth, *channels)
        *keys, head_key = jax.random.split(key, len(channels) + 1)
        self.stages = tuple(
            ImpalaStage(a, b, blocks, key=k) for a, b, k in zip(sizes[:-1], sizes[1:], keys, strict=True)
        )
        for _ in channels:
            height, width = math.ceil(height / 2), math.ceil(width / 2)
        self.head = Dense(height * width * channels[-1], features, dtype=dtype, key=head_key)
        self.frames, self.frame = frames, frame

    @property
    def observation_dim(self) -> int:
        """The number of bytes in an observation."""
        return self.frames * math.prod(self.frame)

    @property
    def num_features(self) -> int:
        """The number of features that the encoder returns."""
        return self.head.bias.shape[-1]

    def __call__(self, observation: UInt8[Array, " bytes"]) -> Float[Array, " features"]:
        """Returns the features of one observation."""
        height, width, depth = self.frame
        frames = observation.reshape(self.frames, height, width, depth)
        x = jnp.moveaxis(frames, 0, 2).reshape(height, width, self.frames * depth)
        x = x.astype(self.head.bias.dtype) / 255
        for stage in self.stages:
            x = stage(x)
        return jax.nn.gelu(self.head(jax.nn.relu(x).reshape(-1))).astype(x.dtype)


impala_small = partial(ImpalaEncoder, channels=(16, 32, 32), blocks=1)
"""Builds the encoder of FQL's visual experiments, called as `impala_small(frames, key=key)`."""
