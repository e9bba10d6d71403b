"""Evaluates the policies of stored runs."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex

import numpy as np
from jaxtyping import Float

from floqzoo.learner.seeds import require_seed
from floqzoo.protocols import Task
from floqzoo.records import ActorCritic
from floqzoo.results.environment import environment_of
from floqzoo.results.find_runs import evaluations
from floqzoo.rollout.evaluation import Evaluation, Evaluator
from floqzoo.runs.recipe import Recipe, find_recipe
from floqzoo.runs.run_store import RETURN_METRIC, SUCCESS_METRIC
from floqzoo.runs.stored_run import StoredRun


@dataclass(frozen=True)
class EvaluatedSeed:
    """A new evaluation of the policy of one seed of a run.

    - `seed`, `step`: The seed, and the step of the checkpoint.
    - `evaluation`: The results of the new evaluation.
    - `logged`: The success rate that the run itself logged at this step, or the mean return in a task that reports no
      success; NaN if the run logged no evaluation at this step.
    - `logged_error`: The standard error of `logged`.
    """

    seed: int
    step: int
    evaluation: Evaluation
    logged: float
    logged_error: float


def evaluate_run(
    directory: str | Path,
    *,
    episodes: SupportsIndex | None = None,
    seed: SupportsIndex | None = None,
    step: SupportsIndex | None = None,
    episode_seed: SupportsIndex | None = None,
    recipe: Recipe | None = None,
    task: Task | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[EvaluatedSeed]:
    """Evaluates the policies in a checkpoint of a run, and returns the results of each seed.

    By default, the episodes are the same as in the run's own evaluation, and so is the success rate.

    - `directory`: The folder of the run.
    - `episodes`: The number of episodes, at least 1; by default `eval_episodes` of the run, or 50 if that is 0.
    - `seed`: A seed of the run; by default all seeds.
    - `step`: The step of the checkpoint; by default the last one.
    - `episode_seed`: The seed of the episodes. By default, each policy is evaluated with the seed of that policy.
    - `recipe`: The recipe of the run, if it is not one of floqzoo's.
    - `task`: Your own task, if the run uses one: the object, or a string `FILE.py:NAME` or `MODULE:NAME`, whose code is
      executed.
    - `progress`: A function that is called with the number of finished episodes and the total number of episodes.

    **Raises** `ValueError` or `FileNotFoundError` if the run, its recipe, the seed or the checkpoint does not exist;
    `ValueError` if a number is out of range, or if the run uses your own task but `task` is None or has no
    environment.
    """
    if episode_seed is not None:
        episode_seed = operator.index(episode_seed)
        require_seed("episode_seed", episode_seed)
    run = StoredRun(Path(directory))
    step = checkpoint_step(run, step)
    actors = {each: actor_of(run, each, step, recipe) for each in chosen_seeds(run, seed)}
    evaluator, results = Evaluator(environment_of(run, task)), []
    episodes = operator.index(run.flags.get("eval_episodes") or 50 if episodes is None else episodes)
    total = episodes * len(actors)
    try:
        for each, actor in actors.items():
            before, own_seed = episodes * len(results), each if episode_seed is None else episode_seed
            told = None if progress is None else lambda done, before=before: progress(before + done, total)
            evaluation = evaluator.evaluate(actor, episodes=episodes, seed=own_seed, progress=told)
            metric = SUCCESS_METRIC if evaluation.reports_success else RETURN_METRIC
            logged = _logged(evaluations(run), metric, each, step)
            results.append(EvaluatedSeed(each, step, evaluation, *logged))
    finally:
        evaluator.close()
    return results


def actor_of(run: StoredRun, seed: int, step: int, recipe: Recipe | None = None) -> ActorCritic:
    """Loads the policy, the critic and the normaliser of one seed from a checkpoint of a run."""
    return run.agent(recipe or find_recipe(run.recipe_name), seed, step).parts


def chosen_seeds(run: StoredRun, seed: SupportsIndex | None) -> list[int]:
    """Returns all seeds of a run if `seed` is None, or else only the given one.

    **Raises** `ValueError` if the run has no such seed.
    """
    if seed is None:
        return list(run.seeds)
    seed = operator.index(seed)
    if seed not in run.seeds:
        raise ValueError(f"{run.directory} has no seed {seed}; it has {', '.join(map(str, run.seeds))}.")
    return [seed]


def checkpoint_step(run: StoredRun, step: SupportsIndex | None) -> int:
    """Returns the step of the run's last checkpoint if `step` is None, or else the given step.

    **Raises** `FileNotFoundError` if the run has no checkpoint, or no checkpoint at the given step.
    """
    step = None if step is None else operator.index(step)
    steps = run.checkpoint_steps
    if not steps:
        raise FileNotFoundError(f"{run.directory} has no checkpoint: the run stopped before its first checkpoint.")
    if step is not None and step not in steps:
        raise FileNotFoundError(
            f"{run.directory} has no checkpoint of step {step:,}; it has {', '.join(f'{each:,}' for each in steps)}."
        )
    return steps[-1] if step is None else step


def _logged(
    columns: Mapping[str, Float[np.ndarray, " rows"]], metric: str, seed: int, step: int
) -> tuple[float, float]:
    if metric not in columns:
        return float("nan"), float("nan")
    rows = (columns["seed"] == seed) & (columns["step"] == step) & np.isfinite(columns[metric])
    names = (metric, f"{metric}_standard_error")
    score, error = ([float("nan"), *columns[name][rows]][-1] if name in columns else float("nan") for name in names)
    return float(score), float(error)
