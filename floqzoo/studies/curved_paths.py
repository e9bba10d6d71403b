"""The effect of a curved path on each method: its errors with the trigonometric path minus those with the linear one.

For TD²-CFM the path only affects the one-step term. Source: TD-Flow (arXiv 2503.09817), table 2, here on another task.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from floqzoo.figures import GREY, METHOD_COLOURS, WIDTH, new_figure, save_figure, styled
from floqzoo.studies.horizon_sweep import LABELS, PATHS, TITLES, TRUTH, SweepConfig, SweepRow, horizon_sweep
from floqzoo.studies.report import Mean, mean_of, print_table, write_rows
from floqzoo.studies.successor_errors import METRICS
from floqzoo.training.cli_errors import errors_explained


@dataclass(frozen=True, kw_only=True)
class CurvedPathsConfig:
    """The settings of the study."""

    sweep: SweepConfig = SweepConfig(name="curved_paths", horizons=(20,))
    """Methods, horizon, seeds and training, as in the horizon sweep; its `path` is not read."""


def curved_paths(config: CurvedPathsConfig) -> list[SweepRow]:
    """Trains and compares every model, on both paths."""
    return [row for path in PATHS for row in horizon_sweep(replace(config.sweep, path=path))]


def difference(rows: Sequence[SweepRow], metric: str, method: str) -> Mean:
    """The paired difference between curved and linear path over the seeds of a method.

    **Raises** `ValueError` if there is no such row, or if the paths have different seeds.
    """
    curved, straight = (
        {(row.horizon, row.seed): getattr(row, metric) for row in rows if (row.path, row.method) == (path, method)}
        for path in ("curved", "straight")
    )
    if not curved or curved.keys() != straight.keys():
        raise ValueError(f"the method {method!r} must have rows of the same seeds on both paths.")
    return mean_of([curved[case] - straight[case] for case in straight])


def table_of(rows: Sequence[SweepRow]) -> tuple[list[str], list[list[str]]]:
    """The differences as a table, with a row per method and a column per metric."""
    methods = [name for name in LABELS if name != TRUTH and any(row.method == name for row in rows)]
    lines = [[LABELS[name], *(str(difference(rows, metric, name)) for metric in METRICS)] for name in methods]
    return ["curved minus straight", *METRICS.values()], lines


@styled
def draw(rows: Sequence[SweepRow], path: Path) -> Path:
    """Draws the differences ± one standard error."""
    methods = [name for name in LABELS if name != TRUTH and any(row.method == name for row in rows)]
    figure = new_figure(WIDTH, 3.2)
    for axes, metric in zip(figure.subplots(1, len(TITLES), sharey=True), TITLES, strict=True):
        means = [difference(rows, metric, name) for name in methods]
        colours = [METHOD_COLOURS.get(name, GREY) for name in methods]
        errors = [mean.error for mean in means]
        axes.barh(np.arange(len(methods)), [mean.mean for mean in means], xerr=errors, color=colours)
        axes.set_yticks(np.arange(len(methods)), [LABELS[name] for name in methods])
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(TITLES[metric])
        axes.locator_params(axis="x", nbins=4)
    figure.axes[1].set_xlabel("curved path minus straight path, ± one standard error")
    return save_figure(figure, path)


def main(config: Annotated[CurvedPathsConfig, tyro.conf.arg(name="")]) -> None:
    """Runs the study, prints its table, and writes its table and figure."""
    rows = curved_paths(config)
    print_table("The effect of a curved path", *table_of(rows))
    folder, name = config.sweep.directory, config.sweep.name
    print(f"table: {write_rows(rows, folder / f'{name}.csv')}\nfigure: {draw(rows, folder / f'{name}.png')}")


if __name__ == "__main__":
    with errors_explained():
        main(tyro.cli(CurvedPathsConfig, description=__doc__, use_underscores=True))
