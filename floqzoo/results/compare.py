"""Compares methods over tasks, by means with confidence intervals and by probabilities of improvement."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import permutations
from pathlib import Path

import numpy as np
from jaxtyping import Float

from floqzoo.results.find_runs import open_runs
from floqzoo.results.reference_scores import ReferenceGroup, ReferenceScore, reference_groups
from floqzoo.results.series import Gathered, gather, headline
from floqzoo.studies.statistics import (
    bootstrap_interval,
    interquartile_mean,
    mean_score,
    probability_of_improvement,
)


MEAN, IQM, IMPROVEMENT = "mean", "interquartile_mean", "probability_of_improvement"
ALL_TASKS = "all tasks"
ENOUGH_SEEDS = 5
"""The number of seeds per task below which intervals are much too narrow, as the guide on results shows by
simulation."""


@dataclass(frozen=True)
class ComparedRow:
    """A row of a comparison: one statistic of a method on a task, or of a method compared with another method.

    - `task`: The name of the task, or `ALL_TASKS` for all tasks on which every method has runs.
    - `method`: The name of the method.
    - `over`: For a probability of improvement, the method with which `method` is compared; otherwise empty.
    - `statistic`: `MEAN`, `IQM` or `IMPROVEMENT`.
    - `value`, `low`, `high`: The value of the statistic and the bounds of its confidence interval. The bounds are NaN
      if a method has only one seed on a task.
    - `seeds`: The number of seeds of `method`, summed over the tasks.
    """

    task: str
    method: str
    over: str
    statistic: str
    value: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True)
class Comparison:
    """The result of comparing runs.

    - `metric`, `confidence`: The metric, and the confidence level of the intervals.
    - `rows`: One row for each task, method and statistic. For a probability of improvement, there is one row for each
      ordered pair of methods.
    - `notes`: Caveats, such as which runs were left out.
    - `reference`: Scores from other sources on these tasks, which are not included in any statistic.
    """

    metric: str
    confidence: float
    rows: tuple[ComparedRow, ...]
    notes: tuple[str, ...]
    reference: tuple[ReferenceGroup, ...] = ()

    def of(self, statistic: str) -> list[ComparedRow]:
        """Returns the rows of one statistic."""
        return [row for row in self.rows if row.statistic == statistic]


def compare_runs(
    runs: Sequence[str | Path],
    *,
    metric: str | None = None,
    step: int | None = None,
    confidence: float = 0.95,
    distinguishing: Sequence[str] = (),
    reference: Sequence[ReferenceScore] = (),
) -> Comparison:
    """Compares methods on each task, and over all tasks on which every method has runs.

    - `runs`: Folders of runs, or folders that contain runs. The seeds of all runs of one method on one task are pooled,
      so no two of these runs may have a seed in common.
    - `metric`: A column of `eval.csv` or `train.csv`; None for the success rate, or for the mean return if no run has a
      success rate.
    - `step`: The step at which the runs are compared. By default this is the last step, which must then be the same for
      all runs on a task.
    - `confidence`: The confidence level of the bootstrap intervals, in (0, 1).
    - `distinguishing`: Run settings, such as "precision", that distinguish methods in addition to the agent's settings.
    - `reference`: Scores from other sources, as returned by `read_reference_scores`, to list below the scores of the
      runs.

    **Raises** `ValueError` if `confidence` is out of range, or if the runs cannot be compared (the message contains
    the reason); `FileNotFoundError` if a folder does not exist or contains no run.
    """
    opened = open_runs([Path(run) for run in runs])
    metric = metric or headline(opened)
    gathered = gather(opened, metric, distinguishing)
    scores = {(s.task, s.method): s.at(_step_of(gathered, s.task, step)) for s in gathered.series}
    cases = [([task], [s.method for s in gathered.of_task(task)], task) for task in gathered.tasks]
    shared = [task for task in gathered.tasks if all((task, method) in scores for method in gathered.methods)]
    notes = list(gathered.notes)
    if len(gathered.tasks) > 1 and shared:
        cases.append((shared, gathered.methods, ALL_TASKS))
    if len(shared) < len(gathered.tasks):
        notes.append(
            f"{len(shared)} of {len(gathered.tasks)} tasks have runs of every method; `{ALL_TASKS}` refers to these."
            if shared
            else "no task has runs of every method, so there is no row for all tasks."
        )
    rows = [row for tasks, methods, name in cases for row in _rows(scores, tasks, methods, name, confidence)]
    notes += _notes_on_intervals(rows, min(len(values) for values in scores.values()), confidence)
    references = reference_groups(reference, gathered.tasks, metric)
    if reference and not references:
        notes.append(f"none of the reference scores concerns {', '.join(gathered.tasks)}.")
    return Comparison(metric, confidence, tuple(rows), tuple(notes), references)


def read_comparison(path: str | Path) -> tuple[ComparedRow, ...]:
    """Reads the rows of a comparison from a CSV file.

    **Raises** `FileNotFoundError` if there is no such file; `ValueError` if its columns are not the fields of
    `ComparedRow`.
    """
    names = [field.name for field in fields(ComparedRow)]
    with Path(path).open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != names:
            raise ValueError(f"{path} must have the columns {', '.join(names)}; it has {reader.fieldnames}.")
        return tuple(_row_of(row) for row in reader)


def _row_of(row: dict[str, str]) -> ComparedRow:
    low, high = float(row["low"]), float(row["high"])
    texts = (row["task"], row["method"], row["over"], row["statistic"])
    return ComparedRow(*texts, float(row["value"]), low, high, int(row["seeds"]))


def _rows(
    scores: dict[tuple[str, str], Float[np.ndarray, " seeds"]],
    tasks: Sequence[str],
    methods: Sequence[str],
    name: str,
    confidence: float,
) -> list[ComparedRow]:
    def row(method: str, over: str, statistic: str, function) -> ComparedRow:
        who = [method, over] if over else [method]
        own = [[scores[task, each] for task in tasks] for each in who]
        estimate = bootstrap_interval(function, *own, confidence=confidence)
        seeds = sum(len(values) for values in own[0])
        return ComparedRow(name, method, over, statistic, estimate.value, estimate.low, estimate.high, seeds)

    means = [row(m, "", s, f) for m in methods for s, f in ((MEAN, mean_score), (IQM, interquartile_mean))]
    return means + [row(a, b, IMPROVEMENT, probability_of_improvement) for a, b in permutations(methods, 2)]


def _notes_on_intervals(rows: Sequence[ComparedRow], fewest: int, confidence: float) -> list[str]:
    """Notes on intervals that are too narrow, since a bootstrap only resamples the given scores, and these are few or
    equal."""
    notes = []
    if fewest < ENOUGH_SEEDS:
        notes.append(
            f"there {'is 1 seed' if fewest == 1 else f'are {fewest} seeds'} for a method on a task. With fewer than "
            f"{ENOUGH_SEEDS}, {100 * confidence:g} % intervals are much too narrow: do not conclude from them that methods differ."
        )
    if any(row.low == row.high for row in rows):
        notes.append(
            "an interval without width, such as [0.50, 0.50], does not mean that the value is exact: no resample of the "
            "seeds changes it, as all of them agree."
        )
    return notes


def _step_of(gathered: Gathered, task: str, step: int | None) -> int:
    series = gathered.of_task(task)
    common = set.intersection(*(set(each.common_steps) for each in series))
    last = {each.method: set(each.last_steps.values()) for each in series}
    if step is None and len(set.union(*last.values())) == 1:
        return max(common)
    if step is not None and step in common:
        return step
    ends = "; ".join(f"{method} at {', '.join(f'{end:,}' for end in sorted(steps))}" for method, steps in last.items())
    apart = "no step is common to all of them, so they cannot be compared"
    if step is None:
        advice = f"set `step` to one at which all of them have a value: {_some(common)}" if common else apart
        raise ValueError(f"the runs on {task} end at different updates ({ends}); {advice}.")
    known = f"all of them have one after {_some(common)}" if common else apart
    raise ValueError(f"not every run on {task} has a value after {step:,} updates; {known}.")


def _some(steps: set[int]) -> str:
    latest = [str(step) for step in sorted(steps)]
    return ", ".join(latest) if len(latest) <= 5 else f"{latest[0]}, ..., {', '.join(latest[-3:])}"
