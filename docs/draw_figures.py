"""Draws the figures of the documentation from stored data, without training: `python docs/draw_figures.py [NAME...]`.

The data are the table next to a figure, the measurements of a study, the scores of the small comparison, or the logs of
runs in `runs/`. `TRAINED` has the figures that need a trained model, each with the command that draws it.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import Any

from floqzoo.figures import BLACK, METHOD_COLOURS, WIDTH, new_figure, save_figure, styled
from floqzoo.results import plot_runs, read_comparison
from floqzoo.results.compare import MEAN, ComparedRow
from floqzoo.studies import (
    curved_paths,
    gradient_variance,
    horizon_sweep,
    integration_steps,
    measure_evaluation,
    value_paths,
)
from floqzoo.studies.claims import study_named
from floqzoo.studies.future_report import FuturePoint, draw_futures
from floqzoo.studies.report import read_table
from floqzoo.studies.study import MEASUREMENTS, Measurement, Table, draw_study
from floqzoo.training import plot_learning_curve


DOCS = Path(__file__).parent


def draw_table(kind: type, draw: Callable[[list, Path], Path], source: Path, out: Path) -> None:
    """Draws a table."""
    draw(read_table(kind, source.with_suffix(".csv")), out)


def draw_measurements(source: Path, out: Path) -> None:
    """Draws the measurements of the study that has the name of the figure."""
    draw_study(study_named(source.name), Table(read_table(Measurement, source.parent / MEASUREMENTS)), out)


def draw_measures(source: Path, out: Path) -> None:
    """Draws the errors of the measures of a known policy."""
    measure_evaluation.draw_errors(read_table(horizon_sweep.SweepRow, source.parent / measure_evaluation.MODELS), out)


def draw_runs(name: str, source: Path, out: Path) -> None:
    """Draws the learning curves of several runs."""
    plot_runs([DOCS / "runs" / name], out)


def draw_run(name: str, title: str, source: Path, out: Path) -> None:
    """Draws the learning curve of a run."""
    drawn = plot_learning_curve(DOCS / "runs" / name, title)
    assert drawn is not None
    drawn.replace(out)


@styled
def draw_scores(source: Path, out: Path) -> None:
    """Draws the mean success and its interval: a panel for each task, a line for each method."""
    rows: Sequence[ComparedRow] = [row for row in read_comparison(source.with_suffix(".csv")) if row.statistic == MEAN]
    tasks = list(dict.fromkeys(row.task for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))[::-1]
    figure = new_figure(WIDTH, 1.2 + 0.3 * len(methods))
    for task, axes in zip(tasks, figure.subplots(1, len(tasks), squeeze=False, sharey=True).flat, strict=True):
        for row in (row for row in rows if row.task == task):
            place = methods.index(row.method)
            colour = METHOD_COLOURS.get(row.method, BLACK)
            axes.hlines(place, 100 * row.low, 100 * row.high, color=colour, alpha=0.4, linewidth=4)
            axes.plot(100 * row.value, place, "o", color=colour)
        axes.set_title(fill(task.removesuffix("-v0"), 56 // len(tasks)))
        axes.set(xlabel="success rate (%)", xlim=(-3, 103), ylim=(-0.6, len(methods) - 0.4))
        axes.set_yticks(range(len(methods)), methods)
    save_figure(figure, out)


STORED: dict[str, Callable[[Path, Path], Any]] = {
    "comparison/scores": draw_scores,
    "figures/curved_paths": partial(draw_table, horizon_sweep.MeanRow, curved_paths.draw),
    "figures/gradient_variance": partial(draw_table, gradient_variance.GradientSpread, gradient_variance.draw),
    "figures/horizon_sweep": partial(draw_table, horizon_sweep.MeanRow, horizon_sweep.draw),
    "figures/integration_steps": partial(draw_table, integration_steps.StepsRow, integration_steps.draw),
    "figures/maze_futures": partial(draw_table, FuturePoint, draw_futures),
    "figures/maze_futures_clone": partial(draw_table, FuturePoint, draw_futures),
    "figures/own_data": partial(draw_runs, "pendulum"),
    "figures/value_paths": partial(draw_table, value_paths.PathPoint, value_paths.draw),
    "figures/quickstart": partial(draw_run, "quickstart", "floq on cube-single-play-singletask-task1"),
    **{
        f"studies/{folder.name}/{folder.name.partition('-')[0]}": draw_measurements  # STUDY, or STUDY-SCALE
        for folder in DOCS.glob("studies/*")
        if (folder / MEASUREMENTS).exists()
    },
    "studies/measures_cube/errors": draw_measures,
    "studies/measures_pointmaze/errors": draw_measures,
    "studies/measures_pointmaze/futures": partial(draw_table, FuturePoint, measure_evaluation.draw_maps),
}
"""What draws each figure: a function of the figure's path without suffix, which locates its data, and of the file to write."""

INSPECT = "floqzoo inspect RUN --out docs/figures/results"
TRAINED = {
    "figures/density": "the tutorial `a-density-in-the-plane`",
    "figures/eight_seeds": "the tutorial `eight-seeds`",
    "figures/a_sweep": "the tutorial `a-sweep`",
    "figures/marginal_paths": "python -m floqzoo.studies.marginal_paths",
    **{f"figures/results/{name}": INSPECT for name in ("inside", "q_by_steps", "value_and_return", "value_paths")},
    "figures/results/value_map": INSPECT,
    "figures/results/futures": INSPECT,
}
"""What draws the figures that need a trained model."""


if __name__ == "__main__":
    for name in sys.argv[1:] or STORED:
        STORED[name](DOCS / name, DOCS / f"{name}.png")
        print(f"{name}.png")
