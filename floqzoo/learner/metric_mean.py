"""Means of metrics over several calls of the compiled update."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float

from floqzoo.learner.scanned_update import ChunkMetrics


class NonFiniteError(FloatingPointError):
    """A number of a run became NaN or infinite, and the run was stopped."""


class MetricMean:
    """The running means of each seed's metrics over all updates in which they occurred.

    - `sums`, `counts`: The sum of each metric and its number of updates, one value per seed.
    - `updates`: The number of updates so far.
    """

    def __init__(
        self,
        sums: dict[str, Float[np.ndarray, " seeds"]] | None = None,
        counts: dict[str, Float[np.ndarray, " seeds"]] | None = None,
        updates: int = 0,
    ):
        self.sums, self.counts, self.updates = sums or {}, counts or {}, updates

    def add(self, metrics: ChunkMetrics, updates: int) -> None:
        """Adds the means over `updates` updates."""
        means, counts = jax.device_get((metrics.mean, metrics.count))
        for name, mean in means.items():
            count = np.asarray(counts.get(name, np.full(mean.shape, updates)), np.float64)
            self.sums[name] = self.sums.get(name, np.zeros(mean.shape)) + count * mean.astype(np.float64)
            self.counts[name] = self.counts.get(name, np.zeros(mean.shape)) + count
        self.updates += updates

    def take(self) -> dict[str, Float[np.ndarray, " seeds"]]:
        """The means since the last call of this method; NaN for a metric that did not occur."""
        means = {
            name: np.where(self.counts[name] > 0, total / np.maximum(self.counts[name], 1), np.nan)
            for name, total in self.sums.items()
        }
        self.sums, self.counts, self.updates = {}, {}, 0
        return means


def require_finite(metrics: ChunkMetrics, seeds: Sequence[int], first_step: int, updates: int) -> None:
    """Checks that all metrics of `updates` updates, starting from number `first_step`, are finite.

    **Raises** `NonFiniteError`, with the first non-finite metric, its seed and its update.
    """
    firsts = {
        (name, seed): int(first)
        for name, counts in jax.device_get(metrics.first_non_finite).items()
        for seed, first in zip(seeds, counts, strict=True)
    }
    if all(first >= updates for first in firsts.values()):
        return
    name, seed = min(firsts, key=lambda which: firsts[which])
    raise NonFiniteError(
        f"the metric {name} of seed {seed} became NaN or infinite in update {first_step + firsts[name, seed] + 1:,}."
    )
