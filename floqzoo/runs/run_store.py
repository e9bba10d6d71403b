"""Reads and writes the logs and the checkpoints of a run."""

import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Key, PyTree

from floqzoo.learner.metric_mean import MetricMean
from floqzoo.records import ActorCritic
from floqzoo.rollout.evaluation import RETURN, SUCCESS
from floqzoo.runs.checkpoint import (
    DamagedError,
    checkpoint_folder,
    checkpoint_steps,
    remove_others,
    restore_awaited,
    restore_beside,
    restore_checkpoint,
    save_checkpoint,
    steps_to_keep,
)
from floqzoo.runs.metric_log import MetricLog, cut_metrics, read_metrics
from floqzoo.runs.metric_writers import MetricWriter
from floqzoo.runs.run_directory import CannotStartError
from floqzoo.tasks.files import read_json
from floqzoo.typing import Array


@dataclass
class Stopwatch:
    """The seconds spent on each part of a run, and the total.

    The time of a background evaluation counts towards both `evaluation` and `updates`, because updates continue in the
    meantime. `waiting` is the time that training waited for evaluations, and `reading` is the time that it waited for
    the next shard of a dataset.
    """

    compilation: float = 0.0
    updates: float = 0.0
    evaluation: float = 0.0
    waiting: float = 0.0
    reading: float = 0.0
    total: float = 0.0

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Adds the duration of the block to the field named `part`."""
        start = time.monotonic()
        try:
            yield
        finally:
            setattr(self, part, getattr(self, part) + time.monotonic() - start)


class RunState(eqx.Module):
    """The agents and keys of a run, as stored in a checkpoint; every array has the seeds as its first axis.

    - `agents`: The agents, with their parameters, target networks, optimiser states and hyperparameters.
    - `keys`: The update key of each seed; the update with index i uses `fold_in(key, i)`.
    """

    agents: PyTree
    keys: Key[Array, " seeds"]

    @property
    def bytes(self) -> int:
        """The size of the agents' arrays, in bytes."""
        return _bytes_of(self.agents)

    @property
    def evaluated_bytes(self) -> int:
        """The size of the arrays that an evaluation needs, in bytes."""
        return _bytes_of(self.agents.parts)


def _bytes_of(tree: PyTree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array)))


class AwaitedEvaluation(eqx.Module):
    """An evaluation that is still running, with agents of an earlier step.

    - `step`: The step of the evaluated agents.
    - `parts`: The critics and policies of these agents, with the seeds as the first axis of every array.
    """

    step: int = eqx.field(static=True)
    parts: ActorCritic


def describe_progress(
    mean: MetricMean, rows: dict[str, int], seconds: Stopwatch, awaited: AwaitedEvaluation | None
) -> dict[str, Any]:
    """Returns the JSON-serialisable values that are stored in a checkpoint.

    - `mean`: The mean metrics of the updates since the last logged row.
    - `rows`: The number of rows of each log up to this step.
    - `seconds`: The time spent. It is the only value that differs between a resumed and an uninterrupted run.
    - `awaited`: The running evaluation, if any; only its step is stored.
    """
    return {
        "mean": {
            "updates": mean.updates,
            "sums": {name: sums.tolist() for name, sums in mean.sums.items()},
            "counts": {name: counts.tolist() for name, counts in mean.counts.items()},
        },
        "rows": rows,
        "seconds": dict(vars(seconds)),
        "awaited": awaited and awaited.step,
    }


def read_progress(
    folder: Path, progress: Mapping[str, Any], seeds: int
) -> tuple[MetricMean, dict[str, int], Stopwatch]:
    """Parses the values that `describe_progress` returned; returns the mean metrics, the row counts and the times.

    - `folder`: The folder of the checkpoint, for error messages.
    - `progress`: The values from the checkpoint.
    - `seeds`: The number of seeds of the run.

    **Raises** `ValueError` if the values are not in the format of `describe_progress`.
    """
    try:
        sums, counts = (
            {str(name): np.array(numbers, dtype=float) for name, numbers in progress["mean"][part].items()}
            for part in ("sums", "counts")
        )
        seconds = Stopwatch(**{str(part): float(spent) for part, spent in progress["seconds"].items()})
        rows = {str(name): int(count) for name, count in progress["rows"].items()}
        mean = MetricMean(sums, counts, int(progress["mean"]["updates"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"the checkpoint {folder} lacks the progress of the run: {error!r}.") from error
    every = (*sums.values(), *counts.values())
    if sums.keys() != counts.keys() or any(numbers.shape != (seeds,) for numbers in every):
        raise ValueError(f"the checkpoint {folder} lacks the mean metrics of the {seeds} seeds of the run.")
    if any(count < 0 for count in rows.values()):
        raise ValueError(f"the checkpoint {folder} has a negative number of rows: {rows}.")
    return mean, rows, seconds


Rows = Mapping[int, Mapping[str, float]]

SUCCESS_METRIC, RETURN_METRIC = f"evaluation/{SUCCESS}", f"evaluation/{RETURN}"
LOGS = ("train.csv", "eval.csv")
RECORDS = ("flags.json", "data.json", "machine.json")
"""The files that identify a run folder. Every checkpoint contains a copy of them, made when it was written."""


class NoSpaceError(CannotStartError):
    """Raised if there is not enough disk space for the checkpoints of a run."""


class RunStore:
    """Reads and writes the logs and the checkpoints of a run.

    - `directory`: The folder of the run.
    - `keep`: The number of latest checkpoints to keep.
    - `resumed`: Whether the folder may already contain a run.
    - `writers`: Metric writers that receive every logged metric.
    - `best_metric`: The evaluation metric whose maximum defines the best checkpoint; None for the success rate, or for
      the mean return if the task reports no success.

    Attribute: `awaited`, the step of the running evaluation, if any. The checkpoint of that step is kept, because the
    evaluation may show that it is the best one.

    **Raises** `FileExistsError` if the folder contains a run and `resumed` is False.
    """

    def __init__(
        self,
        directory: Path,
        keep: int,
        resumed: bool,
        writers: Sequence[MetricWriter] = (),
        best_metric: str | None = None,
    ):
        if not resumed:
            _refuse_used(directory)
        self.directory, self.keep, self.writers = directory, keep, writers
        self.checkpoints = directory / "checkpoints"
        self.best_metric = best_metric
        self.scores: dict[int, float] = {}
        self.awaited: int | None = None
        self._open_logs()

    @property
    def checkpoint_steps(self) -> list[int]:
        """The steps of the checkpoints, ascending."""
        return checkpoint_steps(self.checkpoints)

    def write_training(self, step: int, rows: Rows) -> None:
        """Appends one row per seed to `train.csv`."""
        self._write(self.train_log, step, rows)

    def write_evaluation(self, step: int, rows: Rows) -> None:
        """Appends one row per seed to `eval.csv`, and removes the checkpoints that are no longer needed."""
        self._write(self.eval_log, step, rows)
        metric = chosen_metric(next(iter(rows.values())), self.best_metric)
        self.scores[step] = fmean(row[metric] for row in rows.values())
        self._retain()

    def save(
        self,
        state: RunState,
        step: int,
        mean: MetricMean,
        seconds: Stopwatch,
        *,
        online: Mapping[str, Any] | None = None,
        awaited: AwaitedEvaluation | None = None,
    ) -> None:
        """Writes a checkpoint, and removes the checkpoints that are no longer needed.

        - `online`: The arrays of the online phase by name, if the phase has begun.
        - `awaited`: The evaluation of an earlier step that is still running, if any.
        """
        # A resumed run repeats the evaluations of this step, so their rows do not count.
        rows = {"train.csv": self.train_log.rows_before(step + 1), "eval.csv": self.eval_log.rows_before(step)}
        records = [path for name in RECORDS if (path := self.directory / name).exists()]
        progress = describe_progress(mean, rows, seconds, awaited)
        save_checkpoint(self.checkpoints, state, step, progress, records, online, awaited)
        self._retain()

    def restore(self, like: RunState) -> tuple[RunState, int, MetricMean, Stopwatch] | None:
        """Restores the latest intact checkpoint, and truncates the logs to the step of that checkpoint.

        Later checkpoints, which are damaged, are renamed with the suffix `.damaged`. If there is no checkpoint, the
        logs are removed, and the result is None.

        - `like`: A state of the same structure as the stored one.

        **Raises** `DamagedError` if all checkpoints are damaged, if the latest intact one belongs to another agent, or
        if a log has lost rows.
        """
        if not self.checkpoint_steps:
            for name in LOGS:
                cut_metrics(self.directory / name, 0)
            self._open_logs()
            return None
        try:
            checkpoint = restore_checkpoint(self.checkpoints, like)
            folder = checkpoint_folder(self.checkpoints, checkpoint.step)
            mean, rows, seconds = read_progress(folder, checkpoint.progress, len(like.keys))
            for name in LOGS:
                cut_metrics(self.directory / name, rows.get(name, 0))
        except ValueError as error:
            raise DamagedError(str(error)) from error
        for step in self.checkpoint_steps:
            if step > checkpoint.step:
                folder = checkpoint_folder(self.checkpoints, step)
                folder.rename(folder.with_name(f"{folder.name}.damaged"))
        self._open_logs()
        return checkpoint.tree, checkpoint.step, mean, seconds

    def restore_online(self, step: int) -> dict[str, Any]:
        """Reads the arrays of the online phase from the checkpoint of a step; returns them by name.

        **Raises** `DamagedError` if there are none, or if they cannot be read.
        """
        try:
            return restore_beside(self.checkpoints, step)
        except ValueError as error:
            raise DamagedError(str(error)) from error

    def restore_awaited(self, step: int, agents: PyTree) -> AwaitedEvaluation | None:
        """Reads the evaluation that was running when the checkpoint of a step was written; None if none was running.

        - `agents`: Agents of the same structure as those in the checkpoint.

        **Raises** `DamagedError` if the stored arrays differ from those of `agents` in name, shape or dtype.
        """
        awaited = read_json(checkpoint_folder(self.checkpoints, step) / "progress.json").get("awaited")
        if awaited is None:
            return None
        try:
            return restore_awaited(self.checkpoints, step, AwaitedEvaluation(awaited, agents.parts))
        except ValueError as error:
            raise DamagedError(str(error)) from error

    def require_space(self, size: int) -> None:
        """Checks that the disk has enough space for the checkpoints of the run, which take `size` bytes each.

        **Raises** `NoSpaceError` if it does not; the message contains the free and the required space.
        """
        # In addition to the latest: the best, and the one that is being written.
        needed = (self.keep + 2 - min(self.keep, len(self.checkpoint_steps))) * size
        free = shutil.disk_usage(self.directory).free
        if free < needed:
            raise NoSpaceError(
                f"{self.directory} has {free / 1e6:,.1f} MB of free space; the checkpoints of the run need "
                f"{needed / 1e6:,.1f} MB. Free some space, choose another `save_dir`, or keep fewer checkpoints "
                "(`keep_checkpoints`)."
            )

    def _write(self, log: MetricLog, step: int, rows: Rows) -> None:
        log.write(step, rows)
        for writer in self.writers:
            for seed, metrics in rows.items():
                writer.write_metrics(step, seed, metrics)

    def _retain(self) -> None:
        kept = steps_to_keep(self.checkpoint_steps, self.scores, self.keep)
        remove_others(self.checkpoints, kept | {self.awaited} if self.awaited is not None else kept)

    def _open_logs(self) -> None:
        self.train_log, self.eval_log = (MetricLog(self.directory / name) for name in LOGS)
        if self.eval_log.path.exists():
            table = read_metrics(self.eval_log.path)
            self.scores = scores_by_step(table, self.best_metric)
        else:
            self.scores = {}


def chosen_metric(columns: Collection[str], best_metric: str | None = None) -> str:
    """Returns the name of the metric that selects the best checkpoint.

    This is `best_metric` unless it is None. In that case it is the success rate, or the mean return if the columns
    contain no success rate.

    **Raises** `ValueError` if `best_metric` is not among the columns.
    """
    if best_metric is None:
        return SUCCESS_METRIC if SUCCESS_METRIC in columns else RETURN_METRIC
    if best_metric not in columns:
        names = ", ".join(name for name in columns if "/" in name)
        raise ValueError(f"`best_metric` must be a metric of an evaluation, {names}; got {best_metric!r}.")
    return best_metric


def scores_by_step(table: Mapping[str, np.ndarray], best_metric: str | None = None) -> dict[int, float]:
    """Returns the score of each step: the mean over seeds of the metric that selects the best checkpoint.

    - `table`: The columns of `eval.csv` by name.
    - `best_metric`: As in `chosen_metric`.
    """
    steps, scores = table["step"], table[chosen_metric(table, best_metric)]
    return {int(step): float(np.mean(scores[steps == step])) for step in np.unique(steps)}


def _refuse_used(directory: Path) -> None:
    for name in (*LOGS, "checkpoints"):
        if (directory / name).exists():
            raise FileExistsError(
                f"{directory / name} exists already, and a run is never overwritten; choose another folder."
            )


class ReadOnlyStore:
    """A replacement for `RunStore` that reads the checkpoints of a run but writes nothing.

    With several processes, all but the first use it.

    - `directory`: The folder of the run. To resume a run, the folder must be visible to all processes.
    """

    def __init__(self, directory: Path):
        self.checkpoints = directory / "checkpoints"
        self.awaited: int | None = None

    @property
    def checkpoint_steps(self) -> list[int]:
        """The steps of the checkpoints, ascending."""
        return checkpoint_steps(self.checkpoints)

    def restore(self, like: RunState) -> tuple[RunState, int, MetricMean, Stopwatch] | None:
        """Restores the latest intact checkpoint; returns None if there is no checkpoint."""
        if not self.checkpoint_steps:
            return None
        checkpoint = restore_checkpoint(self.checkpoints, like)
        folder = checkpoint_folder(self.checkpoints, checkpoint.step)
        mean, _, seconds = read_progress(folder, checkpoint.progress, len(like.keys))
        return checkpoint.tree, checkpoint.step, mean, seconds

    def restore_online(self, step: int) -> dict[str, Any]:
        """Reads the arrays of the online phase from the checkpoint of a step; returns them by name."""
        return restore_beside(self.checkpoints, step)

    def _nothing(self, *arguments: Any, **named: Any) -> None:
        """No-op; another process writes the files and evaluates."""

    require_space = write_training = write_evaluation = save = restore_awaited = _nothing
