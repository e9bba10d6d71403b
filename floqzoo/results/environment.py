"""The environment of a stored run, which needs no data."""

from collections.abc import Callable
from functools import partial
from typing import Any

from floqzoo.results.find_runs import setting
from floqzoo.runs.stored_run import StoredRun
from floqzoo.tasks.names import task_name
from floqzoo.tasks.simulator import make


def environment_of(run: StoredRun, **settings: Any) -> Callable[[], Any]:
    """What makes the environment that a run was evaluated in, with its success timing.

    - `settings`: More of OGBench's own, such as `width`.

    **Raises** `ValueError` if OGBench has no such task.
    """
    environment = task_name(run.env_name).environment
    return partial(make, environment, success_timing=setting(run, "success_timing"), **settings)
