"""Collects the values of a metric by step, for every seed of a method on a task."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from floqzoo.results.find_runs import evaluations, setting, training_metrics
from floqzoo.results.method_names import method_names
from floqzoo.runs.run_store import RETURN_METRIC, SUCCESS_METRIC
from floqzoo.runs.stored_run import StoredRun
from floqzoo.tasks.own_task import task_label


Points = Mapping[int, float]
"""The values of one seed, by step."""


@dataclass(frozen=True)
class Series:
    """The values of all seeds of one method on one task.

    - `method`, `task`: The names of the method and the task.
    - `points`: For each seed, the values by step.
    - `phases`: The step at which each phase of the agents starts, by phase name; empty if the agents have no phases, or
      if the phases differ between seeds.
    """

    method: str
    task: str
    points: Mapping[int, Points]
    phases: Mapping[str, int] = field(default_factory=dict)

    @property
    def last_steps(self) -> dict[int, int]:
        """The last step at which each seed has a value, by seed."""
        return {seed: max(points) for seed, points in self.points.items()}

    @property
    def common_steps(self) -> list[int]:
        """The steps at which every seed has a value, in ascending order."""
        return sorted(set.intersection(*(set(points) for points in self.points.values())))

    def at(self, step: int) -> Float[np.ndarray, " seeds"]:
        """Returns the values of all seeds at a step, which must be one of `common_steps`."""
        return np.array([points[step] for points in self.points.values()])


@dataclass(frozen=True)
class Gathered:
    """The series that were collected from several runs.

    - `series`: The series, one for each method and task.
    - `notes`: Notes for the reader, such as which runs were left out.
    - `unit`: What the steps of the runs are called: "steps" if any run has online steps, otherwise "updates".
    """

    series: tuple[Series, ...]
    notes: tuple[str, ...]
    unit: str = "updates"

    @property
    def tasks(self) -> list[str]:
        """The tasks, sorted by name."""
        return sorted({series.task for series in self.series})

    @property
    def methods(self) -> list[str]:
        """The methods, sorted by name."""
        return sorted({series.method for series in self.series})

    def of_task(self, task: str) -> list[Series]:
        """Returns the series of a task, sorted by method name."""
        return sorted((series for series in self.series if series.task == task), key=lambda series: series.method)


def headline(runs: Sequence[StoredRun]) -> str:
    """Returns the name of the headline metric: the success rate if any of the runs has it, or else the mean return."""
    return SUCCESS_METRIC if any(SUCCESS_METRIC in evaluations(run) for run in runs) else RETURN_METRIC


def gather(runs: Sequence[StoredRun], metric: str, distinguishing: Sequence[str] = ()) -> Gathered:
    """Collects a metric of several runs into one series for each method and task, pooling the seeds of different runs.

    Runs without the metric are left out, and a note names each of them. Further notes name the tasks on which runs were
    trained on different data.

    - `metric`: A column of `eval.csv` or `train.csv`.
    - `distinguishing`: Run settings that distinguish methods, as in `method_names`.

    **Raises** `ValueError` if no run has the metric, if the runs on a task differ in their success timing, or if two
    runs of one method on one task have a seed in common.
    """
    found = [
        (run, name, _points(run, metric)) for run, name in zip(runs, method_names(runs, distinguishing), strict=True)
    ]
    if not any(points for _, _, points in found):
        raise ValueError(_no_metric(runs, metric))
    used = [run for run, _, points in found if points]
    notes = [f"{run.directory} is left out: it has no {metric} yet." for run, _, points in found if not points]
    _refuse_mixed_timing(used)
    cases: dict[tuple[str, str], dict[int, Points]] = {}
    owners: dict[tuple[str, str, int], StoredRun] = {}
    for run, method, points in found:
        task = task_label(run.env_name)
        for seed, values in points.items():
            other = owners.setdefault((method, task, seed), run)
            if other is not run:
                raise ValueError(
                    f"seed {seed} of {method} on {task} is in two runs, {other.directory} and {run.directory}; pass only one of them."
                )
            cases.setdefault((method, task), {})[seed] = values
    series = tuple(
        Series(method, task, dict(sorted(seeds.items())), _common_phases(owners, method, task, seeds))
        for (method, task), seeds in cases.items()
    )
    unit = "steps" if any(run.flags.get("online_steps") for run in used) else "updates"
    return Gathered(series, (*notes, *_notes_on_data(used)), unit)


def _common_phases(
    owners: Mapping[tuple[str, str, int], StoredRun], method: str, task: str, seeds: Iterable[int]
) -> Mapping[str, int]:
    first, *others = (owners[method, task, seed].phases for seed in seeds)
    return first if all(phases == first for phases in others) else {}


def _points(run: StoredRun, metric: str) -> Mapping[int, Points]:
    """The finite values of a metric by seed and step, from `eval.csv` or `train.csv`."""
    points: dict[int, dict[int, float]] = {}
    for columns in (evaluations(run), training_metrics(run)):
        for seed, step, value in zip(*(columns.get(name, ()) for name in ("seed", "step", metric)), strict=False):
            if np.isfinite(value):
                points.setdefault(int(seed), {})[int(step)] = float(value)
    return points


def _no_metric(runs: Sequence[StoredRun], metric: str) -> str:
    known = {name for run in runs for columns in (evaluations(run), training_metrics(run)) for name in columns} - {
        "step",
        "seed",
    }
    if not known:
        return f"none of the runs has a metric yet, so there is no {metric}: {_folders(runs)}."
    near = difflib.get_close_matches(metric, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the runs have {', '.join(sorted(known))}."
    return f"none of the runs has the metric {metric!r}; {hint}"


def _refuse_mixed_timing(runs: Sequence[StoredRun]) -> None:
    seen: dict[str, dict[str, StoredRun]] = {}
    for run in runs:
        seen.setdefault(task_label(run.env_name), {}).setdefault(setting(run, "success_timing"), run)
    for task, timings in seen.items():
        if len(timings) > 1:
            these = " and ".join(f"{timing!r} in {run.directory}" for timing, run in timings.items())
            raise ValueError(f"success timing on {task} is {these}, so these runs cannot be compared.")


def _notes_on_data(runs: Sequence[StoredRun]) -> list[str]:
    seen: dict[str, set[str]] = {}
    for run in runs:
        seen.setdefault(task_label(run.env_name), set()).add(str(run.data.get("fingerprint")))
    return [
        f"the runs on {task} were trained on different data: fingerprints {', '.join(sorted(f[:8] for f in prints))}."
        for task, prints in seen.items()
        if len(prints) > 1
    ]


def _folders(runs: Sequence[StoredRun]) -> str:
    return ", ".join(str(run.directory) for run in runs)
