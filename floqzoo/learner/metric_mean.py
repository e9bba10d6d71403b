"""Means of metrics over more updates than one call runs."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float

from floqzoo.learner.scanned_update import ChunkMetrics


class NonFiniteError(FloatingPointError):
    """A number of a run became NaN or infinite, and the run was stopped."""


class MetricMean:
    """The running means of each seed's metrics, each call weighted by its updates.

    - `sums`: The sum of each metric over the updates so far, one number a seed.
    - `updates`: How many these are.
    """

    def __init__(self, sums: dict[str, Float[np.ndarray, " seeds"]] | None = None, updates: int = 0):
        self.sums = sums or {}
        self.updates = updates

    def add(self, metrics: ChunkMetrics, updates: int) -> None:
        """Takes in the means of `updates` updates."""
        for name, mean in jax.device_get(metrics.mean).items():
            self.sums[name] = self.sums.get(name, np.zeros(mean.shape)) + updates * mean.astype(np.float64)
        self.updates += updates

    def take(self) -> dict[str, Float[np.ndarray, " seeds"]]:
        """The means since the last call of this method."""
        means = {name: total / self.updates for name, total in self.sums.items()}
        self.sums, self.updates = {}, 0
        return means


def require_finite(metrics: ChunkMetrics, seeds: Sequence[int], first_step: int, updates: int) -> None:
    """Checks every metric of `updates` updates, of which the first is number `first_step`, counted from 0.

    **Raises** `NonFiniteError`, naming the metric that went wrong first, the seed and the update.
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
