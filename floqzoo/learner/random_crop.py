"""Data augmentation with random crops of image observations."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Int, Real

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.protocols import BatchSource, require_protocol
from floqzoo.records import Transition
from floqzoo.tasks.datafile import FRAME
from floqzoo.tasks.replay_buffer import ReplayBuffer
from floqzoo.typing import Array, Key


class RandomCrop(eqx.Module):
    r"""A batch source that randomly shifts image observations, as data augmentation.

    Frames are padded by repeating their border pixels, and then cropped to their original size. With probability $p$,
    all rows of a batch are cropped; otherwise the batch is unchanged. Each row has its own position, drawn uniformly
    from $(2 \cdot \text{padding} + 1)^2$ positions, and all frames of the row (in `observation`, `next_observation` and
    `future`) are cropped at this position.

    - `source`: The batch source whose batches are cropped.
    - `probability`: $p$ in [0, 1]; 0.5 in FQL's experiments with pixels.
    - `frame`: The height, width and number of channels of a frame.
    - `padding`: The largest shift in pixels, at least 0.

    **Raises** `TypeError` if `source` is not a batch source, `ValueError` if a number is out of range.

    Source: DrQ (arXiv 2004.13649), with one random choice per batch as in the official code of FQL (arXiv 2502.02538),
    `--p_aug`.
    """

    source: BatchSource | Any
    probability: Hyperparameter = eqx.field(converter=hyperparameter, default=0.5)
    frame: tuple[int, int, int] = eqx.field(static=True, default=FRAME)
    padding: int = eqx.field(static=True, default=3)

    def __check_init__(self):
        require_protocol("source", self.source, BatchSource)
        require("probability", self.probability, lambda value: (value >= 0) & (value <= 1), "in [0, 1]")
        if self.padding < 0:
            raise ValueError(f"`padding` must be at least 0; got {self.padding}.")

    def draw_batch(
        self, dataset: Any, replay: ReplayBuffer | None, place: Int[Array, ""], key: Key, batch_size: int
    ) -> Transition:
        """Draws a batch from `source`, and crops its observations with probability `probability`."""
        batch_key, coin_key, place_key = jax.random.split(key, 3)
        batch = self.source.draw_batch(dataset, replay, place, batch_key, batch_size)
        crop_places = jax.random.randint(place_key, (batch_size, 2), 0, 2 * self.padding + 1)

        def cropped(batch: Transition) -> Transition:
            return batch.with_observations(lambda rows: jax.vmap(self.crop)(rows, crop_places))

        coin = jax.random.bernoulli(coin_key, self.probability.value)
        return jax.lax.cond(coin, cropped, lambda batch: batch, batch)

    def crop(self, observation: Real[Array, " pixels"], place: Int[Array, "2"]) -> Real[Array, " pixels"]:
        """Pads and crops one observation.

        `place` contains the first row and the first column of the crop in the padded frame, both from 0 to twice the
        padding. If both equal the padding, the observation is unchanged.
        """
        height, width, _ = self.frame
        frames = observation.reshape(-1, *self.frame)
        rows = jnp.clip(jnp.arange(height, dtype=place.dtype) + place[0] - self.padding, 0, height - 1)
        columns = jnp.clip(jnp.arange(width, dtype=place.dtype) + place[1] - self.padding, 0, width - 1)
        return frames[:, rows][:, :, columns].reshape(-1)
