"""OGBench's own dataset files: found, or downloaded as OGBench does it."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from floqzoo.tasks.datafile import validation_path
from floqzoo.tasks.names import TaskName
from floqzoo.tasks.scripts import SCRIPTS
from floqzoo.tasks.simulator import ogbench_module


TIMEOUT_SECONDS = 30.0


def official_file(name: TaskName, directory: Path) -> Path:
    """The training file of a task in `directory`; what is missing there is downloaded, the validation file too.

    **Raises** `ConnectionError` where the download fails, and says how to get the data without it.
    """
    path = directory / f"{name.dataset}.npz"
    if not (path.exists() and validation_path(path).exists()):
        try:
            with _impatient():
                ogbench_module("ogbench").download_datasets([name.dataset], str(directory))
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionError(_advice(name, directory, error)) from error
    return path


def _advice(name: TaskName, directory: Path, error: Exception) -> str:
    failure = f"{name.dataset} is not in {directory}, and its download failed ({error})."
    if name.dataset in {script.name for script in SCRIPTS}:
        return f"{failure} Collect it with `floqzoo collect {name.dataset}`, and pass the file as `dataset_path`."
    return (
        f"{failure} It cannot be collected, since it needs expert policies or far more time: with a network it is "
        "downloaded, and OGBench's own file can be passed as `dataset_path`."
    )


@contextmanager
def _impatient() -> Iterator[None]:
    """Lets a connection that is dead fail, instead of hanging for ever."""
    found = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(found)
