"""The `floqzoo resume` command."""

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
    """Resumes a run that was stopped or killed, from its latest intact checkpoint, as if it had not been interrupted.

    Log rows after the checkpoint are removed and written again. A run without a checkpoint starts from the beginning,
    and a finished run is left unchanged. The exit status is the same as if the recipe had been run directly. Compiled
    programs are read from your own cache, never from a folder that the run names.

    Args:
        run: The folder of the run.
        recipe: The file of your own recipe, which is executed; by default the floqzoo recipe of the run.
        task: Your own task, whose code is executed; by default the OGBench task of the run.
        allow_changes: Whether to resume even if settings in the run's flags.json, or the data, differ from those of the
            checkpoint. To train for longer, increase offline_steps in flags.json, or online_steps for an online run.
    """
    from floqzoo.learner.compilation_cache import AUTO, OFF, use_compilation_cache
    from floqzoo.learner.devices import join_processes
    from floqzoo.runs.recipe import load_recipe
    from floqzoo.runs.stored_run import StoredRun
    from floqzoo.tasks.files import remove_leftovers
    from floqzoo.training.prepared_run import run_and_report
    from floqzoo.training.resumption import is_complete, of_finished, prepare_resumed

    join_processes()
    if is_complete(StoredRun(run)):
        remove_leftovers(run.expanduser())
        print(of_finished(run, recipe=recipe, task=task))
        return
    own = None if recipe is None else load_recipe(recipe)
    # A run may come from a stranger. Compiled programs are code, so no folder that a run names is read.
    use_compilation_cache(OFF if StoredRun(run).flags.get("compilation_cache") == OFF else AUTO)
    run_and_report(prepare_resumed(run, recipe=own, task=task, allow_changes=allow_changes))
