"""A run that ended, for whatever reason, goes on."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from floqzoo.learner.devices import first_alone, is_first
from floqzoo.protocols import Task
from floqzoo.runs.checkpoint import checkpoint_folder, latest_whole
from floqzoo.runs.recipe import Recipe, find_recipe
from floqzoo.runs.run_directory import describe_data, describe_machine, record_resumption
from floqzoo.runs.stored_run import StoredRun, named_task
from floqzoo.tasks.files import read_json
from floqzoo.tasks.flat import flat
from floqzoo.training.prepared_run import PreparedRun, builder, starting_run, timed_task
from floqzoo.training.trainer import TrainingResult


def resume(
    directory: str | Path,
    *,
    recipe: Recipe | None = None,
    task: Task | str | None = None,
    allow_changes: bool = False,
) -> TrainingResult:
    """Goes on with a run from its latest whole checkpoint, as if it had never ended.

    Rows of the logs that are later than the checkpoint are taken back and written anew. On a CPU the metrics, times
    aside, and the parameters are bit for bit those of a run that was never broken off. A run without a checkpoint
    begins anew; a finished one is only evaluated again.

    - `directory`: The folder of the run.
    - `recipe`: The recipe of the run; without it that of its name in the package `recipes`.
    - `task`: The task of the run, where it is one of your own; `FILE.py:NAME` executes that file.
    - `allow_changes`: Whether to go on although settings in `flags.json` or the data are not those of the checkpoint,
      for instance to train for longer.

    **Raises** what `prepare_resumed` and `train` raise.
    """
    return prepare_resumed(directory, recipe=recipe, task=task, allow_changes=allow_changes).train()


def prepare_resumed(
    directory: str | Path,
    *,
    recipe: Recipe | None = None,
    task: Task | str | None = None,
    allow_changes: bool = False,
) -> PreparedRun:
    """The run, with its data, ready to go on.

    **Raises** `FileNotFoundError` or `ValueError` if there is no such run, or its data are not there; `ValueError` if
    settings or data are not those of its checkpoint, naming each difference, and changes are not allowed.
    """
    run = StoredRun(directory)
    recipe = find_recipe(run.recipe_name) if recipe is None else recipe
    config = run.config(recipe)
    run.builder(recipe)  # Refuses what is not a run of this recipe before any data are loaded.
    flags, data, machine = _as_of_checkpoint(run)
    fixed = differences(flags, run.flags, only=_FIXED)
    if fixed:
        raise ValueError(f"{run.directory} cannot go on with other seeds: {'; '.join(fixed)}.")
    fixed = differences(flags, run.flags, only=_FIXED_ONLINE) if flags.get("online_steps") else []
    if fixed:
        raise ValueError(f"{run.directory} is online, and some of its settings are fixed: {'; '.join(fixed)}.")
    with first_alone():
        task, seconds = timed_task(config, named_task(run, task))
    now = json.loads(json.dumps(describe_data(task)))
    changes = [*differences(flags, run.flags, but=IMMATERIAL), *differences(data, now, but=("path", "provenance"))]
    if changes and not allow_changes:
        raise ValueError(
            f"{run.directory} would go on with other settings or data: {'; '.join(changes)}. "
            "Put them back, or allow changes."
        )
    versions = differences(machine.get("packages", {}), describe_machine()["packages"])
    if changes or versions:
        differing = "; ".join([*changes, *versions])
        warnings.warn(f"the run goes on, but not as what it would have been: {differing}.", stacklevel=2)
    if is_first():
        record_resumption(run.directory)
    build = builder(recipe, config, task)
    start = None if run.checkpoint_steps else starting_run(recipe, config, task, build)
    return PreparedRun(recipe, config, task, build, run.directory, seconds, resumed=True, start=start)


_FIXED = ("recipe", "seed", "seeds")
_FIXED_ONLINE = (
    "offline_steps",
    "online_environments",
    "online_start",
    "utd_ratio",
    "balanced_sampling",
    "buffer_size",
)
IMMATERIAL = (
    "save_dir",
    "run_group",
    "dataset_path",
    "dataset_dir",
    "collect_episodes",
    "collect_workers",
    "eval_workers",
    "keep_checkpoints",
    "best_metric",
    "online_processes",
    "compilation_cache",
    "tensorboard",
    "wandb",
)
"""What a run may change without changing a number that it computes; for the data their own description counts."""


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], *, only: tuple[str, ...] = (), but: tuple[str, ...] = ()
) -> list[str]:
    """What differs, in words, `only` some names or all `but` some; nested names are joined by dots."""
    flat_before, flat_now = flat(before), flat(now)
    names = [
        name for name in dict.fromkeys([*flat_before, *flat_now]) if name not in but and (not only or name in only)
    ]
    return [
        f"`{name}` was {flat_before.get(name)!r} and is {flat_now.get(name)!r}"
        for name in names
        if flat_before.get(name) != flat_now.get(name)
    ]


def _as_of_checkpoint(run: StoredRun) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Flags, data and machine as they were when the latest whole checkpoint was written, or when the run began."""
    if not run.checkpoint_steps:
        return run.flags, run.data, run.machine
    folder = checkpoint_folder(run.checkpoints, latest_whole(run.checkpoints))
    return read_json(folder / "flags.json"), read_json(folder / "data.json"), read_json(folder / "machine.json")
