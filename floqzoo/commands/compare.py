"""`floqzoo compare`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro


def compare(
    runs: Annotated[list[Path], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")],
    /,
    *,
    metric: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None,
    step: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    confidence: float = 0.95,
    format: Literal["text", "markdown", "csv"] = "text",
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
) -> None:
    """Compares methods on each task, and over the tasks that they share.

    Prints means and interquartile means over seeds with bootstrap intervals, and for each two methods the probability
    that a seed of the one does better than a seed of the other. Runs that cannot be compared are refused.

    Args:
        runs: Folders of runs, or folders that hold some, such as exp/floqzoo/debug.
        metric: What to compare: a column of the runs' eval.csv or train.csv; without it the success rate, or the mean
            return of tasks without success.
        step: After how many updates; without it at the end of the runs.
        confidence: The share of the resamples within an interval.
        format: A table for the screen, one in Markdown, or comma-separated values.
        out: The file to write; without it the screen.
    """
    from floqzoo.results.compare import compare_runs
    from floqzoo.results.compare_table import write_table

    comparison = compare_runs(runs, metric=metric, step=step, confidence=confidence)
    write_table(comparison, format, out)
