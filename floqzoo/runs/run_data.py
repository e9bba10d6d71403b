"""Loads the task of a stored run, with its data."""

from pathlib import Path

from floqzoo.protocols import OfflineDataset, Task
from floqzoo.runs.stored_run import StoredRun, named_task
from floqzoo.tasks.load import load


def task_of(run: StoredRun, dataset_path: str | Path | None = None, task: Task | str | None = None) -> Task:
    """Loads the task of a run with the dataset on which the run was trained.

    - `dataset_path`: The new location of the run's data, if they were moved: a file, or a folder of shards. Ignored for
      your own task.
    - `task`: Your own task, if the run uses one: the object, or a string `FILE.py:NAME` or `MODULE:NAME`, whose code is
      executed.

    **Raises** `FileNotFoundError` if the data do not exist; `ValueError` if they differ from the data of the run, if
    the run uses your own task but `task` is None, or if `task` is given although the run uses a task of OGBench.
    """
    own = named_task(run, task)
    if own is not None:
        _require_same(own.dataset, run, str(run.env_name))
        return own
    path = Path(dataset_path or run.data["path"]).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"the data of {run.directory} are not at {path}; pass their new location as `dataset_path`."
        )
    loaded = load(
        run.env_name,
        dataset_path=path,
        success_timing=run.data["success_timing"],
        reward_timing=run.data["reward_timing"],
        action_limit=run.data["action_limit"],
        frame_stack=run.flags.get("frame_stack", 1),
        sparse_rewards=run.data.get("sparse_rewards", False),
        dataset_episodes=run.flags.get("dataset_episodes"),
        goal_discount=run.data.get("goal_discount"),
    )
    _require_same(loaded.dataset, run, str(path))
    return loaded


def _require_same(dataset: OfflineDataset, run: StoredRun, where: str) -> None:
    found, wanted = dataset.fingerprint(), run.data["fingerprint"]
    if found != wanted:
        raise ValueError(
            f"{where} contains different data from those that {run.directory} was trained on: its fingerprint is {found[:12]}..., "
            f"and that of the run {wanted[:12]}...."
        )
