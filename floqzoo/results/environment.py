"""Creates the environment of a stored run without loading its data."""

from collections.abc import Callable
from typing import Any

from floqzoo.protocols import Task
from floqzoo.results.find_runs import setting
from floqzoo.runs.stored_run import StoredRun, named_task
from floqzoo.tasks.load import environment_maker
from floqzoo.tasks.names import task_name


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
    settings = {
        "success_timing": setting(run, "success_timing"),
        "sparse_rewards": run.flags.get("sparse_rewards", False),
        **settings,
    }
    return environment_maker(task_name(run.env_name), run.flags.get("frame_stack", 1), **settings)


def require_states(run: StoredRun, what: str) -> None:
    """Checks that a run was trained on state vectors and not on pixels.

    - `what`: What requires state vectors, for example "a video"; the error message names it.

    **Raises** `ValueError` if the run has a pixel encoder.
    """
    agent = run.flags.get("agent")
    if isinstance(agent, dict) and agent.get("encoder"):
        raise ValueError(f"{what} needs a state-based run; {run.directory} was trained on pixels.")
