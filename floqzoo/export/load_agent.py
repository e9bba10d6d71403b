"""Loads the trained agent of a run or of an exported folder in one line."""

from pathlib import Path

from jaxtyping import PyTree

from floqzoo.export.agent_files import SPEC_FILE, load_exported_agent
from floqzoo.runs.checkpoint import best_step
from floqzoo.runs.recipe import Recipe, find_recipe
from floqzoo.runs.run_store import chosen_metric, scores_by_step
from floqzoo.runs.stored_run import StoredRun


def load_agent(
    directory: str | Path,
    *,
    checkpoint: str | int = "best",
    seed: int | None = None,
    recipe: Recipe | None = None,
) -> PyTree:
    """Loads the trained agent of a run, or of a folder that `floqzoo export` wrote.

    `load_agent(run).act(observation, key)` draws an action.

    - `directory`: The folder, which is not changed, and from which no code is executed. An exported folder may be a
      copy from the Hugging Face Hub; it contains one agent, so `checkpoint` and `seed` must not be given with it.
    - `checkpoint`: "best", the checkpoint with the highest `best_metric` (by default the success rate, or the mean
      return for tasks that report no success), or the latest one if none was evaluated; "latest"; or the step of a
      checkpoint.
    - `seed`: A seed of the run; by default the first.
    - `recipe`: The recipe of the run, if it is not one of floqzoo's.

    **Raises** `FileNotFoundError` or `ValueError` if there is no such run, checkpoint or seed, or if a file is damaged.
    """
    if (Path(directory).expanduser() / SPEC_FILE).is_file():
        for name, given in (("checkpoint", checkpoint != "best"), ("seed", seed is not None)):
            if given:
                raise ValueError(f"`{name}` must not be given for {directory}, an export, which contains one agent.")
        return load_exported_agent(directory, recipe=recipe)
    run = StoredRun(directory)
    step = checkpoint if isinstance(checkpoint, int) else _step_of(run, checkpoint)
    return run.agent(recipe or find_recipe(run.recipe_name), run.seeds[0] if seed is None else seed, step)


def _step_of(run: StoredRun, checkpoint: str) -> int | None:
    if checkpoint not in ("best", "latest"):
        raise ValueError(f"`checkpoint` must be 'best', 'latest' or a number of steps; got {checkpoint!r}.")
    return None if checkpoint == "latest" else best_checkpoint(run)[0]


def best_checkpoint(run: StoredRun) -> tuple[int | None, str]:
    """The step of the checkpoint with the highest score (a mean over seeds), and the name of the scoring metric.

    Returns None and "latest" if no checkpoint was evaluated.
    """
    if not (run.directory / "eval.csv").exists():
        return None, "latest"
    metric = run.flags.get("best_metric")
    step = best_step(run.checkpoint_steps, scores_by_step(run.eval, metric))
    return step, "latest" if step is None else chosen_metric(run.eval, metric)
