"""The `floqzoo plot` command."""

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
    reference: Annotated[str | None, tyro.conf.arg(metavar="FILE|published")] = None,
) -> None:
    """Draws learning curves: one panel per task, with a line and a confidence band for each method.

    The line is the interquartile mean over the seeds, and the band is its bootstrap confidence interval. The seeds of
    all runs of one method on one task are pooled. If runs of a recipe differ in a setting, each value of the setting
    counts as a separate method.

    Args:
        runs: Folders of runs, or folders that contain runs, such as exp/floqzoo/debug.
        out: The figure to write.
        metric: A column of the runs' eval.csv or train.csv; by default the success rate, or the mean return if no run
            has a success rate.
        confidence: The confidence level of the bands.
        reference: A CSV file of scores from other sources, drawn in grey; "published" for the scores of the papers.
    """
    from floqzoo.results.plot import plot_runs
    from floqzoo.results.reference_scores import chosen_references

    references = chosen_references(reference)
    for note in plot_runs(runs, out, metric=metric, confidence=confidence, reference=references):
        print(f"note: {note}")
    print(f"figure: {out}")
