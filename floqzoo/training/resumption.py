"""Resumes runs that ended for any reason, such as an interruption or an error."""

import json
import math
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from floqzoo.learner.devices import first_alone, is_first
from floqzoo.protocols import Task
from floqzoo.runs.checkpoint import checkpoint_folder, latest_intact
from floqzoo.runs.recipe import Recipe, find_recipe
from floqzoo.runs.run_command import run_command
from floqzoo.runs.run_directory import describe_data, describe_machine, record_resumption
from floqzoo.runs.run_store import read_progress
from floqzoo.runs.stored_run import StoredRun, named_task
from floqzoo.tasks.files import read_json
from floqzoo.tasks.flat import flat
from floqzoo.training.prepared_run import PreparedRun, builder, require_agents_fit, starting_run, timed_task
from floqzoo.training.trainer import TrainingResult


def resume(
    directory: str | Path,
    *,
    recipe: Recipe | None = None,
    task: Task | str | None = None,
    allow_changes: bool = False,
) -> TrainingResult:
    """Resumes a run from its latest intact checkpoint, as if it had never been interrupted.

    Log rows from after the checkpoint are removed and written again. On a CPU, the metrics (except times) and the
    parameters are bitwise identical to those of an uninterrupted run. If the run has no checkpoint, it starts from the
    beginning. If the run is finished, nothing is trained, evaluated or written; the result then contains the agents but
    no evaluations.

    - `directory`: The folder of the run.
    - `recipe`: The recipe of the run; by default the one in the package `recipes` that `flags.json` names.
    - `task`: Your own task, if the run uses one: the object, or `FILE.py:NAME` or `MODULE:NAME`, whose code is
      executed.
    - `allow_changes`: Whether to resume even if settings in `flags.json` or the data differ from those of the
      checkpoint, for example to train for longer.

    **Raises** the same errors as `prepare_resumed` and `train`.
    """
    run = StoredRun(directory)
    if is_complete(run):
        print(of_finished(directory), file=sys.stderr)
        return _result_of(run, recipe)
    return prepare_resumed(directory, recipe=recipe, task=task, allow_changes=allow_changes).train()


def of_finished(directory: str | Path, *, recipe: str | Path | None = None, task: str | None = None) -> str:
    """Returns the message that `floqzoo resume` prints for a finished run.

    - `directory`: The folder of the run.
    - `recipe`, `task`: As in `run_command`.
    """
    return (
        f"{directory} is finished. `{run_command('evaluate', directory, recipe=recipe, task=task)}` evaluates its policy again; to train "
        f"for longer, raise offline_steps or online_steps in {Path(directory) / 'flags.json'} and add --allow_changes."
    )


def is_complete(run: StoredRun) -> bool:
    """Returns whether nothing is left to do if a run is resumed: it is finished with its present settings."""
    return run.is_finished and not differences(_as_of_checkpoint(run)[0], run.flags, but=IMMATERIAL)


def _result_of(run: StoredRun, recipe: Recipe | None) -> TrainingResult:
    """The result of a run in which nothing is left to do."""
    last = run.planned_steps
    checkpoint = run.restore(find_recipe(run.recipe_name) if recipe is None else recipe, last)
    agents = checkpoint.tree.agents
    _, _, seconds = read_progress(checkpoint_folder(run.checkpoints, last), checkpoint.progress, len(run.seeds))
    updates = int(np.max(agents.step)) if run.flags.get("online_steps") else last
    return TrainingResult(run.seeds, agents, last, updates, {}, {}, math.nan, seconds, None)


def prepare_resumed(
    directory: str | Path,
    *,
    recipe: Recipe | None = None,
    task: Task | str | None = None,
    allow_changes: bool = False,
) -> PreparedRun:
    """Loads a run and its data, so that the run is ready to resume; takes the same arguments as `resume`.

    **Raises** `FileNotFoundError` or `ValueError` if the run or its data do not exist; `ValueError` if the settings or
    the data differ from those of the checkpoint and `allow_changes` is False, if a setting that must never change, such
    as the seeds, differs (in both cases the message lists each difference), or if the agents are larger than the memory
    of this machine.
    """
    run = StoredRun(directory)
    recipe = find_recipe(run.recipe_name) if recipe is None else recipe
    config = run.config(recipe)
    flags, data, machine = _as_of_checkpoint(run)
    fixed = differences(flags, run.flags, only=_FIXED)
    if fixed:
        raise ValueError(
            f"{run.directory} cannot resume with a different recipe or different seeds: {'; '.join(fixed)}."
        )
    fixed = differences(flags, run.flags, only=_FIXED_ONLINE) if flags.get("online_steps") else []
    if fixed:
        raise ValueError(
            f"{run.directory} trains online, so some settings are fixed: {'; '.join(fixed)}. Restore them."
        )
    run.require_form(recipe)
    require_agents_fit(run.builder(recipe), config.seeds)  # before any data are loaded
    with first_alone():
        task, seconds = timed_task(config, named_task(run, task))
    now = json.loads(json.dumps(describe_data(task)))
    changes = [*differences(flags, run.flags, but=IMMATERIAL), *differences(data, now, but=("path", "provenance"))]
    if changes and not allow_changes:
        raise ValueError(
            f"{run.directory} would resume with different settings or data: {'; '.join(changes)}. "
            "Restore them, or resume with --allow_changes (in Python `allow_changes=True`)."
        )
    versions = differences(machine.get("packages", {}), describe_machine()["packages"])
    if changes or versions:
        differing = "; ".join([*changes, *versions])
        warnings.warn(f"the resumed run differs from an uninterrupted one: {differing}.", stacklevel=2)
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
"""Settings that do not affect the results of a run, so they can be changed before it is resumed. They include the
settings that select the data, because the descriptions of the data are compared instead."""


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], *, only: tuple[str, ...] = (), but: tuple[str, ...] = ()
) -> list[str]:
    """Describes the differences between two records, with one string for each name whose value differs.

    The records may be nested; names are then joined by dots.

    - `before`, `now`: The earlier record and the present one.
    - `only`: The names to compare; by default all.
    - `but`: The names to leave out.
    """
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
    """Flags, data and machine at the time of the latest intact checkpoint, or at the start of the run."""
    if not run.checkpoint_steps:
        return run.flags, run.data, run.machine
    folder = checkpoint_folder(run.checkpoints, latest_intact(run.checkpoints))
    return read_json(folder / "flags.json"), read_json(folder / "data.json"), read_json(folder / "machine.json")
