"""Expands the tasks that a sweep file lists."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from floqzoo.tasks.names import ORACLE, task_name, task_names
from floqzoo.tasks.own_task import is_reference


def named_tasks(names: Sequence[Any], folder: Path) -> list[str]:
    """Expands a list of task names and patterns into a list of tasks.

    In a pattern, `?` matches one character, and `*` matches any number of characters. `FILE.py:NAME` and `MODULE:NAME`
    refer to your own tasks.

    - `folder`: The folder of the sweep file, to which paths are relative.

    **Raises** `ValueError` for an unknown name (the message suggests similar names), for a pattern that matches no
    task, or for a task that is listed twice.
    """
    tasks: list[str] = []
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"`tasks` must be names; got {name!r}.")
        for task in _behind(name, folder):
            if task in tasks:
                raise ValueError(f"`tasks` must list each task once; {task} appears twice.")
            tasks.append(task)
    return tasks


def _behind(name: str, folder: Path) -> list[str]:
    if is_reference(name):
        source, _, attribute = name.rpartition(":")
        return [f"{(folder / source).absolute()}:{attribute}" if source.endswith(".py") else name]
    return _fitting(name) if {*name} & {*"?*["} else [task_name(name).full]


def _fitting(pattern: str) -> list[str]:
    fitting = sorted(task for task in task_names() if fnmatchcase(task, pattern))
    tasks = [task for task in fitting if ORACLE in pattern or not task_name(task).goal_conditioned]
    if not tasks:
        raise ValueError(
            f"no task of OGBench matches `{pattern}`; a valid pattern is 'cube-single-play-singletask-task?-v0'."
        )
    return tasks
