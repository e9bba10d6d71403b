"""Inspects the successor measure of a stored run: compares its sampled futures and values with those of episodes."""

import operator
from pathlib import Path
from typing import SupportsIndex

import equinox as eqx
import jax
import numpy as np

from floqzoo.learner.seeds import SeedUse, seed_key
from floqzoo.protocols import PredictsFutures, Task
from floqzoo.results.environment import require_states
from floqzoo.results.run_evaluation import checkpoint_step, chosen_seeds
from floqzoo.runs.recipe import Recipe, find_recipe
from floqzoo.runs.run_data import task_of
from floqzoo.runs.stored_run import StoredRun, named_task
from floqzoo.studies.future_model import FutureModel
from floqzoo.studies.future_report import FutureReport, future_report, plane_of, rollouts_of
from floqzoo.tasks.own_task import task_label
from floqzoo.tasks.sharded_dataset import excerpt_of


def has_successor_measure(run: StoredRun, recipe: Recipe) -> bool:
    """Returns whether the critic of a run's agent predicts futures.

    **Raises** the same errors as `StoredRun.builder`.
    """
    return isinstance(eqx.filter_eval_shape(run.builder(recipe), jax.random.key(0)).critic, PredictsFutures)


def inspect_futures(
    directory: str | Path,
    out: str | Path,
    *,
    seed: SupportsIndex | None = None,
    step: SupportsIndex | None = None,
    episodes: SupportsIndex = 10,
    dataset_path: str | Path | None = None,
    recipe: Recipe | None = None,
    task: Task | str | None = None,
) -> tuple[FutureReport, list[Path]]:
    """Inspects the successor measure of a run; returns a report and the paths of the files written to `out`.

    The files are `values.csv`, `distances.csv`, `futures.csv` and `futures.png`. A measure of the policy that collected
    the data is compared with recorded episodes, and a measure of the agent's policy with newly played episodes.

    - `directory`: The folder of the run.
    - `out`: The folder for the files.
    - `seed`: The seed of the run to inspect; by default the first.
    - `step`: The step of the checkpoint; by default the last.
    - `episodes`: The number of episodes, at least 1. For a measure of the policy that collected the data, it must not
      exceed the number of episodes in the data.
    - `dataset_path`: The new location of the run's data, if they were moved.
    - `recipe`: The recipe of the run, if it is not one of floqzoo's.
    - `task`: Your own task, if the run uses one: the object, or a string `FILE.py:NAME` or `MODULE:NAME`, whose code is
      executed.

    **Raises** `ValueError` or `FileNotFoundError` if the run, its data, the seed or the checkpoint does not exist;
    `ValueError` in these cases:

    - The critic of the run does not predict futures, or the run was trained on pixels.
    - The run uses your own task, but `task` is None or has no environment to play in.
    - `episodes` is out of range, or an episode is too short.
    """
    run = StoredRun(Path(directory))
    require_states(run, "an inspection")
    seed, step = chosen_seeds(run, seed)[0], checkpoint_step(run, step)
    recipe = recipe or find_recipe(run.recipe_name)
    agent = run.agent(recipe, seed, step)
    if not isinstance(agent.critic, PredictsFutures):
        raise ValueError(f"the critic of {run.directory}, a run of {run.recipe_name}, does not predict futures.")
    loaded = task_of(run, dataset_path, named_task(run, task))
    model = FutureModel.of(agent, np.asarray(excerpt_of(loaded.dataset).observations))
    rollouts = rollouts_of(model, agent.parts, loaded, operator.index(episodes), seed)
    title = f"{run.recipe_name} on {task_label(run.env_name).removesuffix('-v0')}, seed {seed}, {step:,} updates"
    report = future_report(model, rollouts, seed_key(seed, SeedUse.FUTURES), title=title, coordinates=plane_of(loaded))
    return report, report.write(Path(out))
