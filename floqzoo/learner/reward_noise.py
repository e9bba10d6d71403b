"""Noise in the rewards of batches, and thus in TD targets."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Int

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.protocols import BatchSource, require_protocol
from floqzoo.records import Transition
from floqzoo.tasks.replay_buffer import ReplayBuffer
from floqzoo.typing import Array, Key


class RewardNoise(eqx.Module):
    r"""A batch source that adds Gaussian noise to rewards, $r + \sigma \epsilon$, $\epsilon \sim N(0, 1)$.

    The noise is independent for each transition in each batch. It is also the noise in the TD target, which is the
    reward plus a value; all noise samples of a flow critic for the same transition share it.

    - `source`: The batch source whose batches get the noise.
    - `scale`: $\sigma$, the standard deviation in units of reward, at least 0.

    **Raises** `TypeError` if `source` is not a batch source, `ValueError` if `scale` is negative or infinite.

    Source: the experiment with noisy targets of arXiv 2603.04333, which does not publish the distribution of the noise.
    """

    source: BatchSource | Any
    scale: Hyperparameter = eqx.field(converter=hyperparameter)

    def __check_init__(self):
        require_protocol("source", self.source, BatchSource)
        require("scale", self.scale, lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")

    def draw_batch(
        self, dataset: Any, replay: ReplayBuffer | None, place: Int[Array, ""], key: Key, batch_size: int
    ) -> Transition:
        """Draws a batch from `source`, and adds noise to its rewards."""
        batch_key, noise_key = jax.random.split(key)
        batch = self.source.draw_batch(dataset, replay, place, batch_key, batch_size)
        noise = jax.random.normal(noise_key, batch.reward.shape, batch.reward.dtype)
        return replace(batch, reward=batch.reward + self.scale.value.astype(batch.reward.dtype) * noise)
