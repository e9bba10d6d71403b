"""`floqzoo resume`."""

from pathlib import Path
from typing import Annotated

import tyro


def resume(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    *,
    recipe: Annotated[Path | None, tyro.conf.arg(metavar="FILE.py")] = None,
    task: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None,
    allow_changes: bool = False,
) -> None:
    """Goes on with a run that was ended or killed, from its latest whole checkpoint, as if it had never been.

    Rows of the logs that are later than the checkpoint are taken back and written anew. A run without a checkpoint
    begins anew; of a finished one nothing is left to do. Exit statuses are those of a recipe.

    Args:
        run: The run's folder.
        recipe: The file of a recipe of your own, which is executed; without it the recipe of floqzoo that the run names.
        task: A task of your own, whose code is executed; without it the task of OGBench that the run names.
        allow_changes: Go on although settings in the run's flags.json, or the data, are not those of the checkpoint:
            to train for longer, raise offline_steps there, or online_steps of a run that is online.
    """
    from floqzoo.learner.compilation_cache import AUTO, use_compilation_cache
    from floqzoo.learner.devices import join_processes
    from floqzoo.runs.recipe import load_recipe
    from floqzoo.runs.stored_run import StoredRun
    from floqzoo.training.prepared_run import run_and_report
    from floqzoo.training.resumption import prepare_resumed

    join_processes()
    if StoredRun(run).is_finished:
        print(
            f"{run} is finished, and nothing is left to do. `floqzoo evaluate {run}` evaluates its policy again; to train "
            f"for longer, raise offline_steps or online_steps in {run / 'flags.json'} and add --allow_changes."
        )
        return
    own = None if recipe is None else load_recipe(recipe)
    use_compilation_cache(StoredRun(run).flags.get("compilation_cache", AUTO))
    run_and_report(prepare_resumed(run, recipe=own, task=task, allow_changes=allow_changes))
