"""The `floqzoo compare` command."""

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
    reference: Annotated[str | None, tyro.conf.arg(metavar="FILE|published")] = None,
    format: Literal["text", "markdown", "csv"] = "text",
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
) -> None:
    """Compares methods on each task, and across the tasks that they share.

    Prints means and interquartile means over seeds, with bootstrap confidence intervals, and for each pair of methods
    the probability that a random seed of the first method scores higher than a random seed of the second.

    Args:
        runs: Folders of runs, or folders that contain runs, such as exp/floqzoo/debug.
        metric: A column of the runs' eval.csv or train.csv; by default the success rate, or the mean return if no run
            has a success rate.
        step: The number of updates after which to compare the runs; by default the end of the runs.
        confidence: The confidence level of the intervals.
        reference: A CSV file of scores from other sources, listed below the scores of the runs; "published" for the
            scores of the papers.
        format: The output format: a text table, a Markdown table, or CSV.
        out: The file to write; by default standard output.
    """
    from floqzoo.results.compare import compare_runs
    from floqzoo.results.compare_table import write_table
    from floqzoo.results.reference_scores import chosen_references

    references = chosen_references(reference)
    comparison = compare_runs(runs, metric=metric, step=step, confidence=confidence, reference=references)
    write_table(comparison, format, out)
