r"""Measures how accurate each successor method is at several effective horizons $1 / (1 - \gamma)$.

Every model learns the successor measure of the analytic chain's policy, and is compared with the exact measure. Models
learn from one-step transitions, except that Monte Carlo models learn from true futures. Source: TD-Flow
(arXiv 2503.09817), section 5, repeated here on another task.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import jax
import numpy as np
import tyro

from floqzoo.figures import METHOD_COLOURS, WIDTH, legend_below, log_ticks, new_figure, save_figure, styled, ticks_at
from floqzoo.flow.path import LinearPath, TrigonometricPath
from floqzoo.protocols import SuccessorMeasure
from floqzoo.studies.positive_settings import require_positive
from floqzoo.studies.report import Mean, mean_of, number, print_table, write_rows
from floqzoo.studies.successor_errors import METRICS, Probe, SuccessorErrors, errors_of, errors_of_truth, probe
from floqzoo.studies.successor_training import REWARD, TrainingSettings, train_on_chain
from floqzoo.successor.methods import METHODS
from floqzoo.tasks.linear_gaussian import LinearGaussian
from floqzoo.training.cli_errors import errors_explained
from floqzoo.training.progress import ProgressReport


TRUTH = "truth"
LABELS = {
    "mc-cfm": "MC-CFM",
    "td-cfm": "TD-CFM",
    "td-cfm-c": "TD-CFM(C)",
    "td2-cfm": "TD²-CFM",
    "td-dd": "TD-DD",
    "td2-dd": "TD²-DD",
    TRUTH: "two sets of true samples",
}
TITLES = {
    "emd": "Earth mover's\ndistance",
    "nll": "Negative log-likelihood\nper dimension",
    "value_mse": "Mean squared error\nof the value",
}
"""The titles of the panels in figures."""
PATHS = {"straight": LinearPath(), "curved": TrigonometricPath()}


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """The settings of the sweep."""

    directory: Path = Path("docs/figures")
    """Output folder for the errors of each model (NAME_models.csv), their means (NAME.csv) and a figure (NAME.png)."""
    name: str = "horizon_sweep"
    """Name of the output files, without suffix."""
    methods: tuple[str, ...] = ("mc-cfm", "td-cfm", "td-cfm-c", "td2-cfm")
    """Methods to train: mc-cfm, td-cfm, td-cfm-c, td2-cfm, td-dd, td2-dd."""
    horizons: tuple[int, ...] = (5, 10, 20, 50, 100)
    """Effective horizons, each above 1."""
    seeds: int = 3
    """Number of models of each kind, with different parameters, batches and noise."""
    path: Literal["straight", "curved"] = "straight"
    """Path of the flow models; diffusion models have their own path."""
    states: int = 32
    """Number of states at which models are compared with the truth."""
    samples: int = 1024
    """Number of samples per state for values."""
    compared: int = 256
    """Number of samples, and of true futures, per state that the EMD and the MMD compare."""
    squared_emd: bool = False
    """Whether the EMD's cost is the squared distance."""
    training: TrainingSettings = TrainingSettings()
    """How each model is trained."""

    def __post_init__(self):
        require_positive(self)
        unknown = [name for name in self.methods if name not in METHODS]
        if unknown:
            raise ValueError(f"`methods` must be among {', '.join(METHODS)}; got {', '.join(unknown)}.")
        if min(self.horizons) <= 1:
            raise ValueError(f"`horizons` must be numbers above 1; got {self.horizons}.")


@dataclass(frozen=True)
class SweepRow:
    """The errors of one model.

    If the method is "truth" and the seed -1, the row contains the errors between two sets of true samples.
    """

    path: str
    method: str
    horizon: int
    seed: int
    emd: float
    nll: float
    value_mse: float
    mmd: float

    @staticmethod
    def of(path: str, method: str, horizon: int, seed: int, errors: SuccessorErrors) -> "SweepRow":
        """Returns a row with the given errors."""
        return SweepRow(path, method, horizon, seed, **vars(errors))


@dataclass(frozen=True)
class MeanRow:
    """The mean and the standard error of a metric over the seeds of a method.

    A horizon of 0 means that the mean is over all horizons.
    """

    metric: str
    method: str
    horizon: int
    mean: float
    error: float


def horizon_sweep(config: SweepConfig, done: Callable[[list[SweepRow]], None] = lambda rows: None) -> list[SweepRow]:
    """Trains all models, and returns their errors; models of the same method and horizon are trained together.

    - `done`: Called after each pair of method and horizon, with all rows so far.
    """
    probes = {horizon: chain_probe(config, horizon) for horizon in config.horizons}
    rows = [SweepRow.of(config.path, TRUTH, horizon, -1, errors_of_truth(probe)) for horizon, probe in probes.items()]
    total = len(config.methods) * len(config.horizons) * config.training.updates
    with ProgressReport("training", "updates") as progress:
        for index, (method, horizon) in enumerate((m, h) for h in config.horizons for m in config.methods):

            def show(
                updates: int, before: int = index * config.training.updates, case: tuple = (method, horizon)
            ) -> None:
                progress.update(before + updates, total, f"{LABELS[case[0]]}, horizon {case[1]}")

            rows += _trained_rows(config, method, horizon, probes[horizon], show)
            done(rows)
    return rows


def chain_probe(config: SweepConfig, horizon: int) -> Probe:
    """Returns the states, true futures and exact values with which models are compared at a horizon."""
    chain = LinearGaussian.spiral(1 - 1 / horizon)
    return probe(
        chain,
        REWARD,
        lambda observation, action: chain.value(observation, action, REWARD),
        states=config.states,
        samples=config.samples,
        compared=config.compared,
        key=jax.random.key(10_000),
        squared=config.squared_emd,
    )


def _trained_rows(
    config: SweepConfig, method: str, horizon: int, probe: Probe, progress: Callable[[int], None]
) -> list[SweepRow]:
    seeds = list(range(config.seeds))
    make = METHODS[method] if method.endswith("-dd") else partial(METHODS[method], path=PATHS[config.path])
    measures = train_on_chain(make, np.full(len(seeds), 1 - 1 / horizon), seeds, config.training, progress)
    return rows_of(config.path, method, horizon, measures, probe)


def rows_of(path: str, method: str, horizon: int, measures: Sequence[SuccessorMeasure], probe: Probe) -> list[SweepRow]:
    """Returns the errors of the models of one method and horizon; `measures` has one model per seed, from seed 0."""
    return [
        SweepRow.of(path, method, horizon, seed, errors_of(measure, probe, jax.random.key(20_000 + seed)))
        for seed, measure in enumerate(measures)
    ]


def summary(rows: Sequence[SweepRow], metric: str, method: str, horizon: int) -> Mean:
    """Returns the mean and standard error of a metric over the seeds of a method at one horizon.

    **Raises** `ValueError` if the method has no row at that horizon.
    """
    values = [getattr(row, metric) for row in rows if (row.method, row.horizon) == (method, horizon)]
    if not values:
        raise ValueError(f"there is no row of the method {method!r} at horizon {horizon}.")
    return mean_of(values)


def means_of(rows: Sequence[SweepRow]) -> list[MeanRow]:
    """Returns the mean of each metric in the figure, for each method and horizon."""
    cases = dict.fromkeys((row.method, row.horizon) for row in rows)
    return [MeanRow(metric, *case, **vars(summary(rows, metric, *case))) for metric in TITLES for case in cases]


def table_of(
    rows: Sequence[SweepRow], metric: str, labels: Mapping[str, str] = MappingProxyType(LABELS)
) -> tuple[list[str], list[list[str]]]:
    """Returns one metric as a table, with a column per horizon and a row per method; the truth is the last row."""
    horizons = sorted({row.horizon for row in rows})
    methods = [name for name in labels if any(row.method == name for row in rows)]

    def cell(method: str, horizon: int) -> str:
        found = summary(rows, metric, method, horizon)
        return number(found.mean) if method == TRUTH else str(found)

    lines = [[labels[method], *(cell(method, horizon) for horizon in horizons)] for method in methods]
    return [f"{METRICS[metric]}, by horizon", *map(str, horizons)], lines


@styled
def draw(means: Sequence[MeanRow], path: Path, *, log_scale: Sequence[str] = ("value_mse",)) -> Path:
    """Draws each metric against the horizon, ± one standard error.

    - `log_scale`: The metrics whose axis is logarithmic.
    """
    figure = new_figure(WIDTH, 3.8)
    for axes, metric in zip(figure.subplots(1, len(TITLES)), TITLES, strict=True):
        for method in (name for name in LABELS if any(row.method == name for row in means)):
            mine = [row for row in means if (row.metric, row.method) == (metric, method)]
            errors = None if method == TRUTH else [row.error for row in mine]
            style = {"color": METHOD_COLOURS.get(method), "marker": "o"}
            if method == TRUTH:
                style = {"color": "black", "linestyle": "--"}
            axes.errorbar(
                [row.horizon for row in mine], [row.mean for row in mine], errors, label=LABELS[method], **style
            )
        axes.set(xscale="log", yscale="log" if metric in log_scale else "linear", title=TITLES[metric])
        ticks_at(axes.xaxis, sorted({row.horizon for row in means}))
        if metric in log_scale:
            log_ticks(axes.yaxis)
    figure.axes[1].set_xlabel("effective horizon (steps)")
    legend_below(figure, 3)
    return save_figure(figure, path)


def main(config: Annotated[SweepConfig, tyro.conf.arg(name="")]) -> None:
    """Runs the sweep, prints its tables, and writes its tables and figure."""
    table = config.directory / f"{config.name}.csv"
    rows = horizon_sweep(config, lambda rows: write_rows(rows, table.with_stem(f"{config.name}_models")) and None)
    for metric in METRICS:
        columns, lines = table_of(rows, metric)
        print_table(METRICS[metric], columns, lines)
    means = means_of(rows)
    print(f"table: {write_rows(means, table)}\nfigure: {draw(means, table.with_suffix('.png'))}")


if __name__ == "__main__":
    with errors_explained():
        main(tyro.cli(SweepConfig, description=__doc__, use_underscores=True))
