"""The trained agent of a run or of an exported folder, in one line."""

from pathlib import Path

from jaxtyping import PyTree

from floqzoo.export.agent_files import load_exported_agent
from floqzoo.runs.checkpoint import best_step
from floqzoo.runs.recipe import Recipe, find_recipe
from floqzoo.runs.run_store import scores_by_step
from floqzoo.runs.stored_run import StoredRun


def load_agent(
    directory: str | Path,
    *,
    checkpoint: str | int = "best",
    seed: int | None = None,
    recipe: Recipe | None = None,
) -> PyTree:
    """The trained agent of a run, or of a folder that `floqzoo export` wrote: `load_agent(run).act(observation, key)` draws
    an action.

    - `directory`: The folder, of which nothing is changed and no code is executed. That of an export holds one agent, so
      `checkpoint`, `seed` and `recipe` are those of a run.
    - `checkpoint`: "best", the checkpoint with the highest `best_metric` (the success rate, or the mean return where there
      is no success), and the latest if none was evaluated; "latest"; or the number of its steps.
    - `seed`: Which seed of the run; None for the first.
    - `recipe`: The run's, where it is not one of floqzoo's own.

    **Raises** `FileNotFoundError` or `ValueError` if there is no such run, checkpoint or seed, or a file is damaged.
    """
    if (Path(directory).expanduser() / "spec.json").is_file():
        return load_exported_agent(directory)
    run = StoredRun(directory)
    step = checkpoint if isinstance(checkpoint, int) else _step_of(run, checkpoint)
    return run.agent(recipe or find_recipe(run.recipe_name), run.seeds[0] if seed is None else seed, step)


def _step_of(run: StoredRun, checkpoint: str) -> int | None:
    if checkpoint not in ("best", "latest"):
        raise ValueError(f"`checkpoint` must be 'best', 'latest' or a number of steps; got {checkpoint!r}.")
    if checkpoint == "latest" or not (run.directory / "eval.csv").exists():
        return None
    return best_step(run.checkpoint_steps, scores_by_step(run.eval, run.flags.get("best_metric")))
