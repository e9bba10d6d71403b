"""Means of metrics over several calls of the compiled update."""

from collections.abc import Sequence

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, PyTree

from floqzoo.learner.pytree_utils import named_leaves
from floqzoo.learner.scanned_update import ChunkMetrics


class NonFiniteError(FloatingPointError):
    """Raised when a metric, a parameter or an action becomes NaN or infinite, which stops the run.

    - `message`: States what became NaN or infinite, and when.
    - `update`: The update in which this happened, counted from 1; None if it is not known.
    """

    def __init__(self, message: str, update: int | None = None):
        super().__init__(message)
        self.update = update


class MetricMean:
    """Accumulates, for each seed, the mean of each metric over the updates since the last call of `take`.

    The mean of a metric is taken over the updates in which the metric occurred.

    - `sums`, `counts`: The sum of each metric, and the number of updates in which the metric occurred, with one value
      per seed.
    - `updates`: The number of updates since the last `take`.
    """

    def __init__(
        self,
        sums: dict[str, Float[np.ndarray, " seeds"]] | None = None,
        counts: dict[str, Float[np.ndarray, " seeds"]] | None = None,
        updates: int = 0,
    ):
        self.sums, self.counts, self.updates = sums or {}, counts or {}, updates

    def add(self, metrics: ChunkMetrics, updates: int) -> None:
        """Adds the metrics of one call of the compiled update, which performed `updates` updates."""
        means, counts = jax.device_get((metrics.mean, metrics.count))
        for name, mean in means.items():
            count = np.asarray(counts.get(name, np.full(mean.shape, updates)), np.float64)
            self.sums[name] = self.sums.get(name, np.zeros(mean.shape)) + count * mean.astype(np.float64)
            self.counts[name] = self.counts.get(name, np.zeros(mean.shape)) + count
        self.updates += updates

    def take(self) -> dict[str, Float[np.ndarray, " seeds"]]:
        """Returns the means since the last call of this method, and resets them.

        The mean of a metric that did not occur is NaN.
        """
        means = {
            name: np.where(self.counts[name] > 0, total / np.maximum(self.counts[name], 1), np.nan)
            for name, total in self.sums.items()
        }
        self.sums, self.counts, self.updates = {}, {}, 0
        return means


def require_finite(metrics: ChunkMetrics, seeds: Sequence[int], first_step: int, updates: int) -> None:
    """Checks that all metrics of one call of the compiled update are finite.

    - `metrics`: The metrics of the call.
    - `seeds`: The seeds of the run.
    - `first_step`: The number of updates before the call.
    - `updates`: The number of updates in the call.

    **Raises** `NonFiniteError` if a metric is not finite; the message names the first one, its seed and its update.
    """
    firsts = {
        (name, seed): int(first)
        for name, counts in jax.device_get(metrics.first_non_finite).items()
        for seed, first in zip(seeds, counts, strict=True)
    }
    if all(first >= updates for first in firsts.values()):
        return
    name, seed = min(firsts, key=lambda which: firsts[which])
    update = first_step + firsts[name, seed] + 1
    raise NonFiniteError(f"the metric {name} of seed {seed} became NaN or infinite in update {update:,}.", update)


LARGE = 1e4
"""If a dataset contains numbers with a larger absolute value, they are a likely cause of non-finite metrics."""


def cause_in_data(dataset: PyTree) -> str:
    """Describes the likely cause of non-finite metrics in the first update, which is either the data or the method."""
    arrays = named_leaves(eqx.filter(dataset, eqx.is_inexact_array))
    sizes = {name: float(np.max(np.abs(np.asarray(array)))) for name, array in arrays.items() if array.size}
    for name, size in sizes.items():
        if not np.isfinite(size):
            return f"The likely cause is that `{name}` of the dataset are not finite."
    name, size = max(sizes.items(), key=lambda item: item[1], default=("", 0.0))
    if size > LARGE:
        return f"The likely cause is that `{name}` of the dataset reach {size:.3g}: bring them to the order of 1."
    return (
        "The data are of moderate size, so the likely cause is the learning rate, a loss or a network: try a smaller learning "
        "rate; with JAX_DEBUG_NANS=True the failing operation is named."
    )
