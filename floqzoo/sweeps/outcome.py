"""The results of a sweep: a table, learning curves, and failures."""

from collections.abc import Sequence
from pathlib import Path

from floqzoo.results.compare import compare_runs
from floqzoo.results.compare_table import comparison_text, write_table
from floqzoo.results.plot import plot_runs
from floqzoo.sweeps.scheduler import Failure
from floqzoo.sweeps.sweep import Sweep
from floqzoo.sweeps.trial_state import is_finished, last_lines


TABLES = {"comparison.md": "markdown", "comparison.csv": "csv"}
CURVES = "curves.png"


def write_outcome(sweep: Sweep) -> None:
    """Compares the finished trials of a sweep, prints the table, and writes it and the curves to the sweep's folder."""
    runs = [trial.directory for trial in sweep.trials if is_finished(trial.directory)]
    if not any((run / "eval.csv").exists() for run in runs):
        print("nothing to compare: no trial has been evaluated and finished.")
        return
    try:
        comparison = compare_runs(runs, distinguishing=sweep.distinguishing)
    except ValueError as error:
        print(f"no table: {error}")
    else:
        print(comparison_text(comparison), end="")
        for name, format in TABLES.items():
            write_table(comparison, format, sweep.folder / name)
    _draw(runs, sweep)


def _draw(runs: Sequence[Path], sweep: Sweep) -> None:
    try:
        plot_runs(runs, sweep.folder / CURVES, distinguishing=sweep.distinguishing)
    except ModuleNotFoundError:
        print("no curves, since matplotlib is not installed: pip install 'floqzoo[plots]'")
    except ValueError as error:
        print(f"no curves: {error}")
    else:
        print(f"figure: {sweep.folder / CURVES}")


def failure_report(failures: Sequence[Failure]) -> str:
    """Formats a list of the failed trials, with the last lines of each trial's output."""
    lines = []
    for failure in failures:
        lines.append(f"failed: {failure.trial} {failure.reason}; {failure.trial.directory}")
        lines += [f"    {line}" for line in last_lines(failure.trial.directory)]
    return "\n".join(lines)
