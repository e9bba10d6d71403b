"""The data that a stored run was trained on."""

from pathlib import Path

from floqzoo.runs.stored_run import StoredRun
from floqzoo.tasks.dataset import Dataset
from floqzoo.tasks.load import load


def data_of(run: StoredRun, dataset_path: str | Path | None = None) -> Dataset:
    """The transitions of a run, from the file that it names, or from the same file elsewhere.

    **Raises** `FileNotFoundError` if the file is not there, `ValueError` if its content is not that of the run.
    """
    path = Path(dataset_path or run.data["path"]).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"the data of {run.directory} are not at {path}; say with `dataset_path` where they are now."
        )
    task = load(
        run.env_name,
        dataset_path=path,
        success_timing=run.data["success_timing"],
        reward_timing=run.data["reward_timing"],
        action_limit=run.data["action_limit"],
    )
    found, wanted = task.dataset.fingerprint(), run.data["fingerprint"]
    if found != wanted:
        raise ValueError(
            f"{path} holds other data than {run.directory} was trained on: the fingerprint is {found[:12]}..., "
            f"and was {wanted[:12]}...."
        )
    return task.dataset
