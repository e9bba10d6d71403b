r"""Measures how the accuracy of a flow critic depends on its number K of Euler steps.

For each K and each width of the noise interval, a critic is trained with floq's loss on the analytic chain. Both the TD
targets and the targets of the distilled critic are computed with K Euler steps. Source: the ablation of K in floq
(arXiv 2509.06863), repeated here on a task with known values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax.numpy as jnp
import tyro

from floqzoo.figures import WIDTH, legend_below, log_ticks, new_figure, save_figure, styled, ticks_at
from floqzoo.learner.seeds import agent_of
from floqzoo.studies.positive_settings import require_positive
from floqzoo.studies.report import Mean, mean_of, number, print_table, write_rows
from floqzoo.studies.value_training import PaidChain, ValueSettings, ends_of, probe, train_critics
from floqzoo.training.cli_errors import errors_explained


@dataclass(frozen=True, kw_only=True)
class IntegrationStepsConfig:
    """The settings of the study."""

    directory: Path = Path("docs/figures")
    """Output folder for the table (integration_steps.csv) and the figure (integration_steps.png)."""
    steps: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Numbers K of Euler steps."""
    coverages: tuple[float, ...] = (0.01, 0.1, 1.0)
    """Widths of the noise interval as fractions of the range of returns."""
    fine_steps: int = 256
    """Number of Euler steps of the reference solution."""
    seeds: int = 3
    """Number of critics of each kind."""
    states: int = 64
    """Number of states at which critics are compared with the exact values."""
    training: ValueSettings = ValueSettings()
    """Networks and optimiser."""

    def __post_init__(self):
        require_positive(self)


@dataclass(frozen=True)
class StepsRow:
    """The accuracy of one critic.

    - `coverage`, `steps`, `seed`: The noise coverage, the number of steps and the seed of the critic.
    - `value_error`: The root mean square error of the critic's value, which is the mean output over noise samples and
      members.
    - `integration_error`: The root mean square difference between the outputs of the critic's flows with `steps` and
      with `IntegrationStepsConfig.fine_steps` Euler steps.
    """

    coverage: float
    steps: int
    seed: int
    value_error: float
    integration_error: float


def integration_steps(config: IntegrationStepsConfig) -> list[StepsRow]:
    """Trains every critic, and measures its accuracy."""
    task = PaidChain()
    where = probe(task, config.states)
    rows = []
    for coverage in config.coverages:
        for steps in config.steps:
            critics = train_critics(task, coverage, steps, config.seeds, config.training)
            for seed in range(config.seeds):
                critic = agent_of(critics, seed)
                ends = ends_of(critic, where, steps)
                value_error = jnp.mean(ends, axis=(1, 2)) - where.value
                integration_error = ends - ends_of(critic, where, config.fine_steps)
                rows.append(StepsRow(coverage, steps, seed, _size(value_error), _size(integration_error)))
    return rows


def _size(errors: jnp.ndarray) -> float:
    return float(jnp.sqrt(jnp.mean(errors**2)))


def summary(rows: Sequence[StepsRow], metric: str, coverage: float, steps: int) -> Mean:
    """Returns the mean and standard error of a metric over the seeds of one kind of critic."""
    return mean_of([getattr(row, metric) for row in rows if (row.coverage, row.steps) == (coverage, steps)])


def table_of(rows: Sequence[StepsRow]) -> tuple[list[str], list[list[str]]]:
    """Returns a table with a row per kind of critic and a column per error."""
    kinds = dict.fromkeys((row.coverage, row.steps) for row in rows)
    metrics = ("value_error", "integration_error")
    lines = [[number(kind[0]), str(kind[1]), *(str(summary(rows, name, *kind)) for name in metrics)] for kind in kinds]
    return ["κ", "K", "value error", "integration error"], lines


@styled
def draw(rows: Sequence[StepsRow], path: Path) -> Path:
    """Draws the error of Q and the integration error against K."""
    figure = new_figure(WIDTH, 3.8)
    panels = (("value_error", "Error of Q"), ("integration_error", "Error of the integration"))
    steps = sorted({row.steps for row in rows})
    for axes, (metric, title) in zip(figure.subplots(1, 2), panels, strict=True):
        for coverage in dict.fromkeys(row.coverage for row in rows):
            means = [summary(rows, metric, coverage, count) for count in steps]
            label = f"noise coverage κ = {number(coverage)}"
            axes.errorbar(steps, [m.mean for m in means], [m.error for m in means], marker="o", label=label)
        axes.set(title=title, xlabel="number K of Euler steps", xscale="log", yscale="log")
        ticks_at(axes.xaxis, steps)
        log_ticks(axes.yaxis)
    figure.axes[0].set_ylabel("RMS error (units of return)")
    legend_below(figure)
    return save_figure(figure, path)


def main(config: Annotated[IntegrationStepsConfig, tyro.conf.arg(name="")]) -> None:
    """Runs the study, prints its table, and writes its table and figure."""
    rows = integration_steps(config)
    print_table("Accuracy against K", *table_of(rows))
    print(f"table: {write_rows(rows, config.directory / 'integration_steps.csv')}")
    print(f"figure: {draw(rows, config.directory / 'integration_steps.png')}")


if __name__ == "__main__":
    with errors_explained():
        main(tyro.cli(IntegrationStepsConfig, description=__doc__, use_underscores=True))
