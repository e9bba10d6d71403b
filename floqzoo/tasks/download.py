"""Finds and downloads OGBench's dataset files."""

import http
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
NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError)


class DownloadError(ConnectionError):
    """Raised if data could not be downloaded, but a retry may succeed."""


class UnreachableError(ConnectionError):
    """Raised if data cannot be downloaded because their host cannot be reached or does not have them."""


def official_file(name: TaskName, directory: Path) -> Path:
    """Returns the path of a task's training file in `directory`, after downloading the training and the validation file
    if they are missing.

    **Raises** `UnreachableError` if the host cannot be reached or does not have the file, `DownloadError` if the
    connection is lost or times out or the server fails, `BlockingIOError` while another process downloads the same
    file, and `OSError` if the files cannot be written. `UnreachableError` and `DownloadError` are subclasses of
    `ConnectionError`, and their messages suggest other ways to get the data.
    """
    path = directory / f"{name.dataset}.npz"
    files = (validation_path(path), path)  # in this order: if the second exists, both do
    if not all(file.exists() for file in files):
        partial = directory / f"{path.name}.partial"
        with folder_locked(partial, "downloading into"):
            try:
                for file in files:
                    if not file.exists():  # another process may have downloaded it before this one got the lock
                        download_file(f"{ogbench_module('ogbench.utils').DATASET_URL}/{file.name}", partial / file.name)
                        os.replace(partial / file.name, file)
            except NETWORK_ERRORS as error:
                kind = UnreachableError if _is_lasting(error) else DownloadError
                raise kind(_advice(name, directory, error)) from error
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return path


def download_file(url: str, file: Path) -> None:
    """Downloads a file, and shows a progress bar on terminals.

    OGBench's own function is not used, because it treats a lost connection as the end of the file.

    **Raises** one of `NETWORK_ERRORS`, such as `urllib.error.URLError`, if the download fails or ends early, and
    `OSError` if the file cannot be written.
    """
    print(f"downloading {url}", file=sys.stderr)
    # `disable=None`: a bar on terminals only.
    bar = ogbench_module("tqdm").tqdm(desc=file.name, unit="B", unit_scale=True, disable=None)
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response, file.open("wb") as written, bar:
        bar.total = response.length
        while chunk := response.read(CHUNK_BYTES):
            written.write(chunk)
            bar.update(len(chunk))
        if response.length:
            raise http.client.HTTPException(f"the connection ended {response.length:,} bytes too early")


def _is_lasting(error: Exception) -> bool:
    """Whether a retry would fail in the same way: the host cannot be reached, or does not have the file."""
    if isinstance(error, urllib.error.HTTPError):
        passing = (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_MANY_REQUESTS)
        return error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in passing
    return isinstance(error, urllib.error.URLError) and not isinstance(error.reason, TimeoutError)


def _advice(name: TaskName, directory: Path, error: Exception) -> str:
    failure = f"{name.dataset} is not in {directory}, and its download failed ({error})."
    if name.dataset in {script.name for script in SCRIPTS}:
        return (
            f"{failure} Collect episodes on this machine with the recipe's flag `--collect_episodes=150`, or the whole "
            f"dataset with `floqzoo collect {name.dataset}`, and pass its file as `dataset_path`."
        )
    return (
        f"{failure} `floqzoo collect` has no script for this dataset. Try again with a network connection, or download "
        "OGBench's file elsewhere and pass it as `dataset_path`."
    )
