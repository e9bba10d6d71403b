"""Loads the trained agent of a run or of an export."""

import operator
from pathlib import Path
from typing import SupportsIndex

from jaxtyping import PyTree

from floqzoo.export.agent_files import SPEC_FILE, load_exported_agent
from floqzoo.runs.checkpoint import best_step
from floqzoo.runs.recipe import Recipe, find_recipe
from floqzoo.runs.run_store import chosen_metric, scores_by_step
from floqzoo.runs.stored_run import StoredRun


def load_agent(
    directory: str | Path,
    *,
    checkpoint: str | SupportsIndex = "best",
    seed: SupportsIndex | None = None,
    recipe: Recipe | None = None,
) -> PyTree:
    """Loads the trained agent of a run, or of a folder that was written by `floqzoo export`.

    To draw an action, call `load_agent(run).act(observation, key)`.

    - `directory`: The folder of the run or the export. It is not changed, and no code from it is executed. The folder
      of an export may be a copy from the Hugging Face Hub; it contains one agent, so `checkpoint` and `seed` must not
      be given with it.
    - `checkpoint`: "best", "latest", or the step of a checkpoint. "best" is the checkpoint with the highest
      `best_metric` (by default the success rate, or the mean return if the task does not report success), or the latest
      checkpoint if none was evaluated.
    - `seed`: The seed of the run whose agent is loaded; by default the first seed.
    - `recipe`: The recipe of the run, if it is not one of floqzoo's recipes.

    **Raises** `FileNotFoundError` or `ValueError` if there is no such run, checkpoint or seed, or if a file is damaged.
    """
    if (Path(directory).expanduser() / SPEC_FILE).is_file():
        for name, given in (("checkpoint", checkpoint != "best"), ("seed", seed is not None)):
            if given:
                raise ValueError(f"`{name}` must not be given for {directory}, an export, which contains one agent.")
        return load_exported_agent(directory, recipe=recipe)
    run = StoredRun(directory)
    step = _step_of(run, checkpoint) if isinstance(checkpoint, str) else operator.index(checkpoint)
    return run.agent(
        recipe or find_recipe(run.recipe_name), operator.index(run.seeds[0] if seed is None else seed), step
    )


def _step_of(run: StoredRun, checkpoint: str) -> int | None:
    if checkpoint not in ("best", "latest"):
        raise ValueError(f"`checkpoint` must be 'best', 'latest' or a number of steps; got {checkpoint!r}.")
    return None if checkpoint == "latest" else best_checkpoint(run)[0]


def best_checkpoint(run: StoredRun) -> tuple[int | None, str]:
    """Returns the step of the checkpoint with the highest score, and the name of the metric used as the score.

    The score of a checkpoint is a mean over seeds. If no checkpoint was evaluated, the results are None and "latest".
    """
    if not (run.directory / "eval.csv").exists():
        return None, "latest"
    metric = run.flags.get("best_metric")
    step = best_step(run.checkpoint_steps, scores_by_step(run.eval, metric))
    return step, "latest" if step is None else chosen_metric(run.eval, metric)
