"""`floqzoo plot`."""

from pathlib import Path
from typing import Annotated

import tyro


def plot(
    runs: Annotated[list[Path], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")],
    /,
    *,
    out: Annotated[Path, tyro.conf.arg(metavar="FILE.png")],
    metric: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None,
    confidence: float = 0.95,
) -> None:
    """Draws learning curves: a panel for each task, a line for each method, and a band for its seeds.

    A line is the interquartile mean over the seeds, the band its bootstrap interval. Runs of one method on one task
    are its seeds; where runs of a recipe differ in a setting, each choice is a method of its own.

    Args:
        runs: Folders of runs, or folders that hold some, such as exp/floqzoo/debug.
        out: The picture to write.
        metric: What to draw: a column of the runs' eval.csv or train.csv; without it the success rate, or the mean return
            of tasks without success.
        confidence: The share of the resamples within the band.
    """
    from floqzoo.results.plot import plot_runs

    for note in plot_runs(runs, out, metric=metric, confidence=confidence):
        print(f"note: {note}")
    print(f"figure: {out}")
