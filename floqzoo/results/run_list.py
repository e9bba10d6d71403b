"""Lists runs with their progress and scores."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from floqzoo.results.find_runs import evaluations, find_runs, training_metrics
from floqzoo.results.series import headline
from floqzoo.runs.run_directory import LOCK
from floqzoo.runs.run_store import SUCCESS_METRIC
from floqzoo.runs.stored_run import StoredRun
from floqzoo.tasks.own_task import task_label


@dataclass(frozen=True)
class RunSummary:
    """A summary of one run.

    - `directory`, `recipe`, `task`, `seeds`: The folder, the recipe, the task and the seeds of the run.
    - `steps`, `planned`: The number of steps so far, and the number of steps in the settings of the run. Both count
      offline updates and environment steps.
    - `metric`, `score`, `error`: The headline metric (success rate or mean return), its mean over seeds in the last
      evaluation, and the standard error of this mean; NaN before the first evaluation. The standard error is computed
      over seeds, or over episodes if the run has one seed.
    - `state`: "finished", "interrupted", "failed" (a metric became NaN or infinite), "running" or "unreadable".
    - `date`: The date and time at which the run was first started, in ISO 8601 format; empty if unknown.
    - `problem`: The reason why the run is unreadable; empty for all other runs.
    """

    directory: Path
    recipe: str = ""
    task: str = ""
    seeds: tuple[int, ...] = ()
    steps: int = 0
    planned: int = 0
    metric: str = ""
    score: float = float("nan")
    error: float = float("nan")
    state: str = "unreadable"
    date: str = ""
    problem: str = ""


def list_runs(directory: str | Path = "exp") -> list[RunSummary]:
    """Summarises all runs in a folder, oldest first; the folder itself may be a run.

    Runs that cannot be read are included, with the reason as their `problem`.

    **Raises** `FileNotFoundError` if there is no such folder; `NotADirectoryError` if it is a file.
    """
    return sorted((_summary(path) for path in find_runs(Path(directory))), key=lambda run: (run.date, run.directory))


def _summary(path: Path) -> RunSummary:
    try:
        run = StoredRun(path)
        metric = headline([run])
        score, error = last_score(evaluations(run), metric)
        return RunSummary(
            directory=path,
            recipe=run.recipe_name,
            task=task_label(run.env_name),
            seeds=tuple(run.seeds),
            steps=_last_step(run),
            planned=run.planned_steps,
            metric=metric,
            score=score,
            error=error,
            state=state_of(run),
            date=run.started,
        )
    except (ValueError, OSError) as error:
        return RunSummary(directory=path, problem=str(error))


def state_of(run: StoredRun) -> str:
    """Returns the state of a run: "running" if a process holds its lock, or else "finished", "interrupted" or "failed".

    See `RunSummary` for the meaning of the states.
    """
    if _is_locked(run.directory):
        return "running"
    if _last_step(run) >= run.planned_steps:
        return "finished"
    return "interrupted" if _ends_finite(training_metrics(run)) else "failed"


def _ends_finite(columns: Mapping[str, Float[np.ndarray, " rows"]]) -> bool:
    """Whether the training metrics of the last step are finite; exploration metrics, which may be NaN, are ignored."""
    if not len(columns.get("step", ())):
        return True
    steps = np.asarray(columns["step"])
    last = [column[steps == steps[-1]] for name, column in columns.items() if name.startswith("training/")]
    return all(np.isfinite(column).all() for column in last)


def last_score(columns: Mapping[str, Float[np.ndarray, " rows"]], metric: str) -> tuple[float, float]:
    """Returns the mean over seeds of a metric in the last evaluation, and its standard error; both NaN if it is missing.

    - `columns`: The columns of `eval.csv` by name.
    - `metric`: The name of the metric.
    """
    rates = columns.get(metric, np.zeros(0))
    known = np.isfinite(rates)
    if not known.any():
        return float("nan"), float("nan")
    steps = np.asarray(columns["step"])
    last = known & (steps == steps[known].max())
    count = int(last.sum())
    if count == 1:
        return float(rates[last][0]), float(
            columns.get(f"{metric}_standard_error", np.full(len(last), np.nan))[last][0]
        )
    return float(rates[last].mean()), float(rates[last].std(ddof=1) / np.sqrt(count))


def run_lines(run: RunSummary, below: Path) -> list[str]:
    """Formats the summary of a run as lines of at most 80 columns, regardless of the width of the terminal.

    The first line is the path of the run relative to the folder `below`. It is never wrapped, so it may be longer.
    """
    path = run.directory.name if run.directory == below else os.path.relpath(run.directory, below)
    if run.problem:
        return [path, *_indented(f"unreadable: {run.problem}")]
    progress = [run.state, f"{run.steps:,} of {run.planned:,} steps", _shown(run)]
    if run.date:
        progress.append(f"started {run.date[:16].replace('T', ' ')}")
    what = f"{run.recipe} on {run.task}, seed{'s' * (len(run.seeds) > 1)} {seed_range(run.seeds)}"
    return [path, *_indented(what), *_indented(", ".join(progress))]


def _indented(text: str) -> list[str]:
    wrapper = textwrap.TextWrapper(80, "    ", "        ", break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(text)


def seed_range(seeds: Sequence[int]) -> str:
    """Formats seeds in short form: one seed as `0`, consecutive seeds as `0-7`, and other seeds as `0, 3`."""
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))


def _shown(run: RunSummary) -> str:
    if np.isnan(run.score):
        return "not evaluated"
    if run.metric == SUCCESS_METRIC:
        return f"success {100 * run.score:.0f} ± {100 * run.error:.0f} %"
    return f"return {run.score:.4g}" + ("" if np.isnan(run.error) else f" ± {run.error:.2g}")


def _is_locked(directory: Path) -> bool:
    """Whether a process holds the training lock, see `floqzoo.runs.run_directory`."""
    import fcntl

    try:
        with (directory / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _last_step(run: StoredRun) -> int:
    steps = [
        columns["step"].max() for columns in (training_metrics(run), evaluations(run)) if len(columns.get("step", ()))
    ]
    return int(max([*steps, *run.checkpoint_steps], default=0))
