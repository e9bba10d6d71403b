"""OGBench's own dataset files: found, or downloaded."""

import http.client
import os
import shutil
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

from floqzoo.tasks.datafile import validation_path
from floqzoo.tasks.folder_lock import folder_locked
from floqzoo.tasks.names import TaskName
from floqzoo.tasks.scripts import SCRIPTS
from floqzoo.tasks.simulator import ogbench_module


TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 20
_OF_THE_NETWORK = (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError)


class DownloadError(ConnectionError):
    """Data could not be downloaded; at another time they may be."""


def official_file(name: TaskName, directory: Path) -> Path:
    """The training file of a task in `directory`; what is missing there is downloaded, the validation file too.

    **Raises** `DownloadError`, a `ConnectionError`, where the download fails, and says how to get the data without it;
    `BlockingIOError` while another process downloads the same; `OSError` if the files cannot be written.
    """
    path = directory / f"{name.dataset}.npz"
    files = (validation_path(path), path)  # In this order: where there is the second, there are both.
    if not all(file.exists() for file in files):
        partial = directory / f"{path.name}.partial"
        with folder_locked(partial, "downloading into"):
            try:
                for file in files:
                    if not file.exists():  # Another process may have downloaded it while this one came to the lock.
                        _download(partial / file.name)
                        os.replace(partial / file.name, file)
            except _OF_THE_NETWORK as error:
                raise DownloadError(_advice(name, directory, error)) from error
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return path


def _download(file: Path) -> None:
    """Downloads the file of this name from OGBench's server.

    Not by OGBench's own function, to which a connection that breaks off is the end of the file.
    """
    url = f"{ogbench_module('ogbench.utils').DATASET_URL}/{file.name}"
    print(f"downloading {url}", file=sys.stderr)
    # `disable=None`: a bar on a terminal alone.
    bar = ogbench_module("tqdm").tqdm(desc=file.name, unit="B", unit_scale=True, disable=None)
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response, file.open("wb") as written, bar:
        bar.total = response.length
        while chunk := response.read(CHUNK_BYTES):
            written.write(chunk)
            bar.update(len(chunk))
        if response.length:
            raise http.client.HTTPException(f"the connection ended {response.length:,} bytes too early")


def _advice(name: TaskName, directory: Path, error: Exception) -> str:
    failure = f"{name.dataset} is not in {directory}, and its download failed ({error})."
    if name.dataset in {script.name for script in SCRIPTS}:
        return f"{failure} Collect it with `floqzoo collect {name.dataset}`, and pass the file as `dataset_path`."
    return (
        f"{failure} It cannot be collected, since it needs expert policies or far more time: with a network it is "
        "downloaded, and OGBench's own file can be passed as `dataset_path`."
    )
