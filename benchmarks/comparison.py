"""The scores and the costs of the page "A small comparison": `python -m benchmarks.comparison SWEEP_FOLDER`.

`SWEEP_FOLDER` is the output of `floqzoo sweep comparison`; only finished trials are read, and the stored scores of the
others are kept. The results are written to `docs/comparison`, from which `docs/draw_figures.py` draws the figure and
`docs/generate.py` writes the page.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from benchmarks.counted_flops import matrix_flops
from benchmarks.measured_update import REWARDS, random_dataset
from floqzoo.results import compare_runs, read_comparison
from floqzoo.results.compare import ALL_TASKS, IQM, MEAN
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder of the finished trials")
    folder = parser.parse_args().folder
    finished = [flags.parent for flags in sorted(folder.glob("*/flags.json")) if is_finished(flags.parent)]
    print(write_rows([cost_row(trial) for trial in read_sweep(SWEEP).trials], OUT / "costs.csv"))
    comparison = compare_runs(finished)
    rows = [row for row in comparison.rows if row.statistic in (MEAN, IQM) and row.task != ALL_TASKS]
    measured = {(row.task, row.method) for row in rows}
    stored = [row for row in read_comparison(OUT / "scores.csv") if (row.task, row.method) not in measured]
    print(write_rows(sorted(stored + rows, key=lambda row: (row.task, row.method)), OUT / "scores.csv"))
    print(*comparison.notes, sep="\n")


if __name__ == "__main__":
    main()
