"""The environment of a stored run; loads no data."""

from collections.abc import Callable
from functools import partial
from typing import Any

from floqzoo.protocols import Task
from floqzoo.results.find_runs import setting
from floqzoo.runs.stored_run import StoredRun, named_task
from floqzoo.tasks.names import task_name
from floqzoo.tasks.simulator import make


def environment_of(run: StoredRun, task: Task | str | None = None, **settings: Any) -> Callable[[], Any]:
    """A function that creates the evaluation environment of a run, with its success timing.

    - `task`: The task of the run if it is your own: a task, or `FILE.py:NAME`, whose code is executed.
    - `settings`: Additional settings for OGBench, such as `width`.

    **Raises** `ValueError` if OGBench has no such task, if the run's task is your own and is not given, or has no
    environment.
    """
    own = named_task(run, task)
    if own is not None:
        if own.make_environment is None:
            raise ValueError(f"{run.env_name} has no environment.")
        return own.make_environment
    environment = task_name(run.env_name).environment
    return partial(make, environment, success_timing=setting(run, "success_timing"), **settings)
