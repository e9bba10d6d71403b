"""Creates the environment of a stored run without loading its data."""

from collections.abc import Callable
from functools import partial
from typing import Any

from floqzoo.protocols import Task
from floqzoo.results.find_runs import setting
from floqzoo.runs.stored_run import StoredRun, named_task
from floqzoo.tasks.names import task_name
from floqzoo.tasks.simulator import make, make_pixels


def environment_of(run: StoredRun, task: Task | str | None = None, **settings: Any) -> Callable[[], Any]:
    """Returns a function that creates the environment in which a run is evaluated, with the run's success timing and
    rewards.

    - `task`: Your own task, if the run uses one: the object, or a string `FILE.py:NAME` or `MODULE:NAME`, whose code is
      executed.
    - `settings`: Additional settings of OGBench's environment, such as `width`; ignored for your own task.

    **Raises** `ValueError` if OGBench has no such task, if the run uses your own task but `task` is None, if `task` is
    given although the run uses a task of OGBench, or if your own task has no environment.
    """
    own = named_task(run, task)
    if own is not None:
        if own.make_environment is None:
            raise ValueError(f"{run.env_name} has no environment to play in; give the task an `environment`.")
        return own.make_environment
    name = task_name(run.env_name)
    settings = {
        "success_timing": setting(run, "success_timing"),
        "sparse_rewards": run.flags.get("sparse_rewards", False),
        **settings,
    }
    if name.pixels:
        return partial(make_pixels, name.environment, setting(run, "frame_stack"), **settings)
    return partial(make, name.environment, **settings)


def require_states(run: StoredRun, what: str) -> None:
    """Checks that a run was trained on state vectors and not on pixels.

    - `what`: What requires state vectors, for example "a video"; the error message names it.

    **Raises** `ValueError` if the run has a pixel encoder.
    """
    agent = run.flags.get("agent")
    if isinstance(agent, dict) and agent.get("encoder"):
        raise ValueError(f"{what} needs a state-based run; {run.directory} was trained on pixels.")
