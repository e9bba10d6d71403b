"""Measures how a curved path changes the error of each method, compared with a straight path.

The change is the error with the trigonometric path minus the error with the linear path. For TD²-CFM, the path only
affects the one-step term. Source: TD-Flow (arXiv 2503.09817), table 2, repeated here on another task.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from floqzoo.figures import GREY, METHOD_COLOURS, WIDTH, new_figure, save_figure, styled
from floqzoo.studies.horizon_sweep import LABELS, PATHS, TITLES, TRUTH, MeanRow, SweepConfig, SweepRow, horizon_sweep
from floqzoo.studies.report import Mean, mean_of, print_table, write_rows
from floqzoo.studies.successor_errors import METRICS
from floqzoo.training.cli_errors import errors_explained


@dataclass(frozen=True, kw_only=True)
class CurvedPathsConfig:
    """The settings of the study."""

    sweep: SweepConfig = SweepConfig(name="curved_paths", horizons=(20,))
    """Methods, horizon, seeds and training, as in the horizon sweep; `sweep.path` is ignored."""


def curved_paths(config: CurvedPathsConfig) -> list[SweepRow]:
    """Trains every model twice, once on each path, and returns the errors of all models."""
    return [row for path in PATHS for row in horizon_sweep(replace(config.sweep, path=path))]


def difference(rows: Sequence[SweepRow], metric: str, method: str) -> Mean:
    """Returns how much higher a method's metric is on the curved path than on the straight path.

    The difference is averaged over pairs of models with the same horizon and seed.

    **Raises** `ValueError` if the method has no row, or if its horizons and seeds differ between the two paths.
    """
    curved, straight = (
        {(row.horizon, row.seed): getattr(row, metric) for row in rows if (row.path, row.method) == (path, method)}
        for path in ("curved", "straight")
    )
    if not curved or curved.keys() != straight.keys():
        raise ValueError(
            f"the method {method!r} must have rows of the same horizons and seeds on the curved and the straight path; got "
            f"{sorted(curved)} and {sorted(straight)}."
        )
    return mean_of([curved[case] - straight[case] for case in straight])


def table_of(rows: Sequence[SweepRow]) -> tuple[list[str], list[list[str]]]:
    """Returns the differences between the two paths as a table, with a row per method and a column per metric."""
    methods = [name for name in LABELS if name != TRUTH and any(row.method == name for row in rows)]
    lines = [[LABELS[name], *(str(difference(rows, metric, name)) for metric in METRICS)] for name in methods]
    return ["curved minus straight", *METRICS.values()], lines


def differences(rows: Sequence[SweepRow]) -> list[MeanRow]:
    """Returns the differences between the two paths, for each method and each metric in the figure."""
    methods = [name for name in LABELS if name != TRUTH and any(row.method == name for row in rows)]
    return [MeanRow(metric, name, 0, **vars(difference(rows, metric, name))) for metric in TITLES for name in methods]


@styled
def draw(means: Sequence[MeanRow], path: Path) -> Path:
    """Draws the difference between the two paths for each method and metric, ± one standard error."""
    figure = new_figure(WIDTH, 3.2)
    for axes, metric in zip(figure.subplots(1, len(TITLES), sharey=True), TITLES, strict=True):
        mine = [row for row in means if row.metric == metric]
        colours = [METHOD_COLOURS.get(row.method, GREY) for row in mine]
        places = np.arange(len(mine))
        axes.barh(places, [row.mean for row in mine], xerr=[row.error for row in mine], color=colours)
        axes.set_yticks(places, [LABELS[row.method] for row in mine])
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(TITLES[metric])
        axes.locator_params(axis="x", nbins=4)
    figure.axes[1].set_xlabel("curved path minus straight path, ± one standard error")
    return save_figure(figure, path)


def main(config: Annotated[CurvedPathsConfig, tyro.conf.arg(name="")]) -> None:
    """Runs the study, prints its table, and writes its tables and figure."""
    rows = curved_paths(config)
    means = differences(rows)
    print_table("The effect of a curved path", *table_of(rows))
    folder, name = config.sweep.directory, config.sweep.name
    write_rows(rows, folder / f"{name}_models.csv")
    print(f"table: {write_rows(means, folder / f'{name}.csv')}\nfigure: {draw(means, folder / f'{name}.png')}")


if __name__ == "__main__":
    with errors_explained():
        main(tyro.cli(CurvedPathsConfig, description=__doc__, use_underscores=True))
