"""Means of metrics over more updates than one call runs."""

import jax

from floqzoo.training.scanned_update import ChunkMetrics


class NonFiniteError(FloatingPointError):
    """A number of a run became NaN or infinite, and the run was stopped."""


class MetricMean:
    """The running means of metrics, each call weighted by its updates."""

    def __init__(self):
        self._sums: dict[str, float] = {}
        self.updates = 0

    def add(self, metrics: ChunkMetrics, updates: int) -> None:
        """Takes in the means of `updates` updates."""
        for name, mean in jax.device_get(metrics.mean).items():
            self._sums[name] = self._sums.get(name, 0.0) + updates * float(mean)
        self.updates += updates

    def take(self) -> dict[str, float]:
        """The means since the last call of this method."""
        means = {name: total / self.updates for name, total in self._sums.items()}
        self._sums, self.updates = {}, 0
        return means


def require_finite(metrics: ChunkMetrics, first_step: int, updates: int) -> None:
    """Checks every metric of `updates` updates, of which the first is number `first_step`, counted from 0.

    **Raises** `NonFiniteError`, naming the metric that went wrong first and the update.
    """
    firsts = {name: int(first) for name, first in jax.device_get(metrics.first_non_finite).items()}
    if all(first >= updates for first in firsts.values()):
        return
    name = min(firsts, key=lambda name: firsts[name])
    raise NonFiniteError(f"the metric {name} became NaN or infinite in update {first_step + firsts[name] + 1:,}.")
