"""What the policy of a stored run does when it is played again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

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
    """One seed of a run, played again.

    - `seed`, `step`: Which, and the updates that its checkpoint has seen.
    - `evaluation`: What it did.
    - `logged`: The success rate that the run itself logged at that step, or the mean return where there is no success; NaN
      where it did not evaluate there.
    - `logged_error`: Its standard error.
    """

    seed: int
    step: int
    evaluation: Evaluation
    logged: float
    logged_error: float


def evaluate_run(
    directory: str | Path,
    *,
    episodes: int = 50,
    seed: int | None = None,
    step: int | None = None,
    episode_seed: int | None = None,
    recipe: Recipe | None = None,
    task: Task | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[EvaluatedSeed]:
    """Plays the policies of a run's checkpoint.

    With the same number of episodes they are the episodes that the run itself played, so that the success is the one
    that it logged.

    - `directory`: The run's folder.
    - `episodes`: How many, at least 1.
    - `seed`: Which seed of the run; without it all of them.
    - `step`: The updates of the checkpoint; without it the last one.
    - `episode_seed`: Seeds the episodes; without it the run's own seed does.
    - `recipe`: The run's, where it is not one of floqzoo's own.
    - `task`: The run's, where it is one of your own; `FILE.py:NAME` executes that file.
    - `progress`: Called with the number of episodes finished so far, and in all.

    **Raises** `ValueError` or `FileNotFoundError` for what is not there: the run, its recipe, a seed, a checkpoint.
    """
    run = StoredRun(Path(directory))
    step = checkpoint_step(run, step)
    actors = {each: actor_of(run, each, step, recipe) for each in chosen_seeds(run, seed)}
    evaluator, results = Evaluator(environment_of(run, task)), []
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
    """Policy and critic of a run's checkpoint."""
    return run.agent(recipe or find_recipe(run.recipe_name), seed, step).parts


def chosen_seeds(run: StoredRun, seed: int | None) -> list[int]:
    """The seeds of a run, or the one that is asked for.

    **Raises** `ValueError` if the run has no such seed.
    """
    if seed is None:
        return list(run.seeds)
    if seed not in run.seeds:
        raise ValueError(f"{run.directory} has no seed {seed}; it has {', '.join(map(str, run.seeds))}.")
    return [seed]


def checkpoint_step(run: StoredRun, step: int | None) -> int:
    """The step that is asked for, or the last one.

    **Raises** `FileNotFoundError` if the run has no checkpoint, or none of that step.
    """
    steps = run.checkpoint_steps
    if not steps:
        raise FileNotFoundError(f"{run.directory} has no checkpoint: the run stopped before the first was due.")
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
