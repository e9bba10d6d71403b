"""The tasks that a sweep file names."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from floqzoo.tasks.names import task_name, task_names


def named_tasks(names: Sequence[Any]) -> list[str]:
    """The tasks behind some names, in which `?` stands for any letter and `*` for any number of them.

    **Raises** `ValueError` for a name that OGBench does not have, with near names, a pattern that fits none, and a task
    that is named twice.
    """
    tasks: list[str] = []
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"`tasks` must be names; got {name!r}.")
        for task in _fitting(name) if {*name} & {*"?*["} else [task_name(name).full]:
            if task in tasks:
                raise ValueError(f"`tasks` must name each task once; {task} comes twice.")
            tasks.append(task)
    return tasks


def _fitting(pattern: str) -> list[str]:
    tasks = sorted(task for task in task_names() if fnmatchcase(task, pattern))
    if not tasks:
        raise ValueError(
            f"no task of OGBench fits `{pattern}`; such a pattern is 'cube-single-play-singletask-task?-v0'."
        )
    return tasks
