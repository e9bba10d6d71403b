r"""Measures the trajectories of flow critics from noise to value, for narrow and wide noise intervals.

Critics are trained with floq's loss on the analytic chain, and differ only in the noise coverage $\kappa$, which sets
the noise interval $\kappa \, [r_{\min}, r_{\max}] / (1 - \gamma)$. This study tests a claim of floq (arXiv 2509.06863).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro

from floqzoo.critics.flow_critic import FlowCritic
from floqzoo.figures import BLACK, BLUE, WIDTH, legend_below, new_figure, save_figure, styled
from floqzoo.flow.curvature import path_curvature
from floqzoo.flow.fixed_step import Euler
from floqzoo.flow.prior import quantile_noise
from floqzoo.learner.seeds import agent_of
from floqzoo.records import Trajectory
from floqzoo.studies.positive_settings import require_positive
from floqzoo.studies.report import mean_of, number, print_table, write_rows
from floqzoo.studies.value_training import (
    PaidChain,
    Probe,
    ValueSettings,
    ends_of,
    probe,
    train_critics,
)
from floqzoo.training.cli_errors import errors_explained


@dataclass(frozen=True, kw_only=True)
class ValuePathsConfig:
    """The settings of the study."""

    directory: Path = Path("docs/figures")
    """Output folder for the table (value_path_statistics.csv), the figure (value_paths.png) and its points
    (value_paths.csv)."""
    coverages: tuple[float, ...] = (0.01, 0.1, 1.0)
    """Widths of the noise interval as fractions of the range of returns; floq uses 0.1 or 0.25."""
    steps: int = 8
    """Number K of Euler steps in training."""
    fine_steps: int = 64
    """Number of Euler steps for measured and drawn trajectories."""
    seeds: int = 3
    """Number of critics for each width."""
    states: int = 64
    """Number of states at which critics are measured."""
    trajectories: int = 16
    """Number of trajectories per state."""
    training: ValueSettings = ValueSettings()
    """Networks and optimiser."""

    def __post_init__(self):
        require_positive(self)


@dataclass(frozen=True)
class PathRow:
    """Statistics of one critic's trajectories over states, noise samples and members.

    - `coverage`, `seed`: The noise coverage and the seed of the critic.
    - `curvature`: The mean `path_curvature`, in squared units of return.
    - `bend`: The mean curvature divided by the mean squared distance from noise to value.
    - `noise_spread`: The standard deviation of the output over noise samples, averaged over states and members.
    - `value_error`: The root mean square error of the critic's value, which is the mean output over noise samples and
      members.
    """

    coverage: float
    seed: int
    curvature: float
    bend: float
    noise_spread: float
    value_error: float


def value_paths(config: ValuePathsConfig) -> tuple[list[PathRow], dict[float, FlowCritic]]:
    """Trains the critics and measures their trajectories; also returns the critic of the first seed for each width."""
    task = PaidChain()
    where = probe(task, config.states)
    rows, first = [], {}
    for coverage in config.coverages:
        critics = train_critics(task, coverage, config.steps, config.seeds, config.training)
        members = [agent_of(critics, seed) for seed in range(config.seeds)]
        rows += [_row(coverage, seed, critic, where, config) for seed, critic in enumerate(members)]
        first[coverage] = members[0]
    return rows, first


def trajectories(critic: FlowCritic, where: Probe, steps: int, count: int) -> Trajectory:
    """Computes trajectories with `steps` Euler steps from `count` noise samples.

    The leading axes of the result are state, noise sample and member.
    """
    fine = replace(critic, solver=Euler(steps))
    noise_samples = quantile_noise(fine.prior, count)

    def of_state(observation, action):
        def of_member(field):
            flow = fine.flow(field)
            code = flow.encode(observation, action)
            return jax.vmap(lambda noise: flow.trajectory(noise, code))(noise_samples)

        return fine.fields.each(of_member)

    paths = eqx.filter_jit(jax.vmap(of_state))(where.observation, where.action)
    return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 1, 2), paths)


def _row(coverage: float, seed: int, critic: FlowCritic, where: Probe, config: ValuePathsConfig) -> PathRow:
    paths = trajectories(critic, where, config.fine_steps, config.trajectories)
    curvature = jax.vmap(jax.vmap(jax.vmap(path_curvature)))(paths)
    chord = paths.x[..., -1, 0] - paths.x[..., 0, 0]
    ends = ends_of(critic, where, config.steps)
    error = jnp.mean(ends, axis=(1, 2)) - where.value
    return PathRow(
        coverage=coverage,
        seed=seed,
        curvature=float(jnp.mean(curvature)),
        bend=float(jnp.mean(curvature) / jnp.mean(chord**2)),
        noise_spread=float(jnp.mean(jnp.std(ends, axis=1))),
        value_error=float(jnp.sqrt(jnp.mean(error**2))),
    )


@dataclass(frozen=True)
class PathPoint:
    """A point $(t, z_t)$ of a drawn trajectory, with the noise coverage, the index of the noise sample, and the exact
    value."""

    coverage: float
    noise_sample: int
    t: float
    z: float
    exact: float


def points_of(critics: dict[float, FlowCritic], where: Probe, config: ValuePathsConfig) -> list[PathPoint]:
    """Returns points on the trajectories of each critic's first member, at the state with the median value."""
    chosen = int(np.argsort(np.asarray(where.value))[len(where.value) // 2])
    here = jax.tree.map(lambda leaf: leaf[chosen : chosen + 1], where)
    rows = []
    for coverage, critic in critics.items():
        ways = trajectories(critic, here, config.fine_steps, config.trajectories)
        t, z = np.asarray(ways.t[0, :, 0])[:, ::4], np.asarray(ways.x[0, :, 0, ::4, 0])
        rows += [
            PathPoint(coverage, sample, float(t[sample, step]), float(z[sample, step]), float(here.value[0]))
            for sample, step in np.ndindex(z.shape)
        ]
    return rows


@styled
def draw(points: Sequence[PathPoint], path: Path) -> Path:
    """Draws the trajectories for each noise coverage, and the exact value."""
    coverages = list(dict.fromkeys(point.coverage for point in points))
    figure = new_figure(WIDTH, 3.4)
    for axes, coverage in zip(np.atleast_1d(figure.subplots(1, len(coverages))), coverages, strict=True):
        mine = [point for point in points if point.coverage == coverage]
        for sample in sorted({point.noise_sample for point in mine}):
            t, z = zip(*((point.t, point.z) for point in mine if point.noise_sample == sample), strict=True)
            axes.plot(t, z, color=BLUE, linewidth=0.9, label="trajectory of one noise sample")
        axes.plot(
            1, mine[0].exact, "_", color=BLACK, markersize=16, markeredgewidth=2, label="exact value", clip_on=False
        )
        axes.set(title=f"noise κ = {number(coverage)}", xlabel="flow time t", xlim=(0, 1))
    figure.axes[0].set_ylabel("value z(t) (units of return)")
    legend_below(figure)
    return save_figure(figure, path)


def table_of(rows: Sequence[PathRow]) -> tuple[list[str], list[list[str]]]:
    """Returns a table with a row per width and a column per statistic."""
    measures = ("curvature", "bend", "noise_spread", "value_error")
    lines = []
    for coverage in dict.fromkeys(row.coverage for row in rows):
        mine = [row for row in rows if row.coverage == coverage]
        lines.append([number(coverage), *(str(mean_of([getattr(row, name) for row in mine])) for name in measures)])
    return ["κ", "curvature", "curvature / distance²", "spread over noise", "value error"], lines


def main(config: Annotated[ValuePathsConfig, tyro.conf.arg(name="")]) -> None:
    """Runs the study, prints its table, and writes its table and figure."""
    rows, critics = value_paths(config)
    print_table("Value paths", *table_of(rows))
    print(f"table: {write_rows(rows, config.directory / 'value_path_statistics.csv')}")
    points = points_of(critics, probe(PaidChain(), config.states), config)
    print(f"points of the figure: {write_rows(points, config.directory / 'value_paths.csv')}")
    print(f"figure: {draw(points, config.directory / 'value_paths.png')}")


if __name__ == "__main__":
    with errors_explained():
        main(tyro.cli(ValuePathsConfig, description=__doc__, use_underscores=True))
