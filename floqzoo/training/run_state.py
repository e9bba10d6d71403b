"""What changes in a run, and is therefore in every checkpoint."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Key, PyTree

from floqzoo.training.metric_mean import MetricMean
from floqzoo.training.stopwatch import Stopwatch


class RunState(eqx.Module):
    """The arrays of a checkpoint, each with the seeds as its first axis.

    - `agents`: Parameters, targets, optimiser and hyperparameters.
    - `keys`: The key of all updates of each seed; update number i folds in i.
    """

    agents: PyTree
    keys: Key[Array, " seeds"]

    @property
    def bytes(self) -> int:
        """The size of the agents' arrays."""
        return _bytes_of(self.agents)

    @property
    def evaluated_bytes(self) -> int:
        """The size of what an evaluation needs of them."""
        return _bytes_of((self.agents.policy, self.agents.critic))


def _bytes_of(tree: PyTree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array)))


class AwaitedEvaluation(eqx.Module):
    """An evaluation under way, of agents that have been trained since.

    - `step`: The step of those agents.
    - `policies`, `critics`: What they were then, with the seeds as the first axis of every array.
    """

    step: int = eqx.field(static=True)
    policies: PyTree
    critics: PyTree


def describe_progress(
    mean: MetricMean, rows: dict[str, int], seconds: Stopwatch, awaited: AwaitedEvaluation | None
) -> dict[str, Any]:
    """The plain values of a checkpoint.

    - `mean`: The means of the updates that have no row yet.
    - `rows`: The rows of each log that belong to the updates until here.
    - `seconds`: The time spent; this alone is not the same in a run that was resumed.
    - `awaited`: The evaluation under way, if there is one.
    """
    return {
        "mean": {"updates": mean.updates, "sums": {name: sums.tolist() for name, sums in mean.sums.items()}},
        "rows": rows,
        "seconds": dict(vars(seconds)),
        "awaited": awaited and awaited.step,
    }


def read_progress(progress: Mapping[str, Any], seeds: int) -> tuple[MetricMean, dict[str, int], Stopwatch]:
    """The same values, read back.

    **Raises** `ValueError` if they are not what `describe_progress` makes.
    """
    try:
        sums = {str(name): np.array(numbers, dtype=float) for name, numbers in progress["mean"]["sums"].items()}
        seconds = Stopwatch(**{str(part): float(spent) for part, spent in progress["seconds"].items()})
        rows = {str(name): int(count) for name, count in progress["rows"].items()}
        mean = MetricMean(sums, int(progress["mean"]["updates"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"the checkpoint does not tell how far the run is: {error!r}.") from error
    if any(numbers.shape != (seeds,) for numbers in sums.values()) or any(count < 0 for count in rows.values()):
        raise ValueError(f"the checkpoint does not tell how far the {seeds} seeds of the run are.")
    return mean, rows, seconds
