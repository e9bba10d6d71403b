"""The scores, the costs and the figure of the page "A small comparison": `python -m benchmarks.comparison SWEEP_FOLDER`.

`SWEEP_FOLDER` is the output of `floqzoo sweep comparison`; finished trials only are read. The results are written to
`docs/comparison`, from which `docs/generate.py` makes the page.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from benchmarks.counted_flops import matrix_flops
from benchmarks.measured_update import REWARDS, random_dataset
from floqzoo.figures import new_figure, save_figure
from floqzoo.results import compare_runs
from floqzoo.results.compare import ALL_TASKS, IQM, MEAN, ComparedRow
from floqzoo.runs.recipe import agent_builder
from floqzoo.studies.report import write_rows
from floqzoo.sweeps import read_sweep
from floqzoo.sweeps.trial import Trial
from floqzoo.sweeps.trial_state import is_finished


SWEEP = "comparison"
OUT = Path(__file__).parents[1] / "docs" / "comparison"
SIZES = {"cube-single": (28, 5), "pointmaze-medium": (4, 2)}
"""Observations and actions of the tasks, from OGBench."""


@dataclass(frozen=True)
class CostRow:
    """The floating-point operations of the matrix products of one update of one seed."""

    task: str
    method: str
    flops: int


def cost_row(trial: Trial) -> CostRow:
    """Counts the operations of an update with the settings of a trial, from its trace."""
    run, recipe = trial.config, trial.recipe
    (sizes,) = [sizes for name, sizes in SIZES.items() if run.env_name.startswith(name)]
    build = agent_builder(recipe, run.agent, observation_dim=sizes[0], action_dim=sizes[1], reward_range=REWARDS)
    source = recipe.batch_source(run, False)

    def update(key: jax.Array) -> Sequence[jax.Array]:
        build_key, data_key, update_key = jax.random.split(key, 3)
        dataset = random_dataset(100, sizes)
        batch = source.draw_batch(dataset, None, jax.numpy.asarray(0), data_key, run.agent.batch_size)
        return jax.tree.leaves(build(build_key).update(batch, update_key)[1])

    return CostRow(run.env_name, recipe.name, matrix_flops(update, jax.random.key(0)))


def draw_scores(rows: Sequence[ComparedRow], path: Path) -> None:
    """Draws the mean success and its interval: a panel for each task, a line for each method."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))[::-1]
    figure = new_figure(1.2 + 4.0 * len(tasks), 1.2 + 0.28 * len(methods))
    for task, axes in zip(tasks, figure.subplots(1, len(tasks), squeeze=False, sharey=True).flat, strict=True):
        for row in (row for row in rows if row.task == task):
            place = methods.index(row.method)
            axes.hlines(place, 100 * row.low, 100 * row.high, color="C0", alpha=0.4, linewidth=4)
            axes.plot(100 * row.value, place, "o", color="C0")
        axes.set_title(task.removesuffix("-v0"), fontsize=9)
        axes.set(xlabel="success rate (%)", xlim=(-3, 103), ylim=(-0.6, len(methods) - 0.4))
        axes.set_yticks(range(len(methods)), methods)
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder of the finished trials")
    folder = parser.parse_args().folder
    finished = [flags.parent for flags in sorted(folder.glob("*/flags.json")) if is_finished(flags.parent)]
    print(write_rows([cost_row(trial) for trial in read_sweep(SWEEP).trials], OUT / "costs.csv"))
    comparison = compare_runs(finished)
    rows = [row for row in comparison.rows if row.statistic in (MEAN, IQM) and row.task != ALL_TASKS]
    print(write_rows(rows, OUT / "scores.csv"))
    draw_scores([row for row in rows if row.statistic == MEAN], OUT / "scores.png")
    print(OUT / "scores.png", *comparison.notes, sep="\n")


if __name__ == "__main__":
    main()
