"""Downloads OGBench's datasets of 100 million transitions, each of which is a folder of shards."""

import os
import shutil
import zipfile
import zlib
from pathlib import Path

from floqzoo.tasks.datafile import validation_path
from floqzoo.tasks.download import NETWORK_ERRORS, DownloadError, download_file
from floqzoo.tasks.files import sha256_of
from floqzoo.tasks.folder_lock import folder_locked


MIRRORS = (
    "https://rail.eecs.berkeley.edu/datasets/ogbench",
    "https://huggingface.co/datasets/zhouzypaul/ogbench_datasets/resolve/main",
)
"""The URLs of the folders that contain the datasets, in the order in which they are tried. The first is OGBench's own
server. The second is a third-party copy, which may lack the large datasets. A mirror that lacks a file
counts as failed for this file.
"""

SHARDS = {
    "humanoidmaze-giant-navigate-100m-v0": 25,
    **dict.fromkeys(
        (
            "cube-double-play-100m-v0",
            "cube-triple-play-100m-v0",
            "cube-quadruple-play-100m-v0",
            "cube-quadruple-noisy-100m-v0",
            "cube-octuple-play-100m-v0",
            "scene-play-100m-v0",
            "puzzle-3x3-play-100m-v0",
            "puzzle-4x4-play-100m-v0",
            "puzzle-4x5-play-100m-v0",
            "puzzle-4x6-play-100m-v0",
        ),
        100,
    ),
}
"""The number of shards of each large dataset."""

CHECKSUMS = "SHA256SUMS"
"""The name of an optional file in a dataset's folder, which lists known checksums in the format of `sha256sum`."""


def download_shards(name: str, directory: str | Path = "~/.ogbench/data", *, shards: int | None = None) -> Path:
    """Downloads a large OGBench dataset to `directory/name`; returns this path, to pass to `load` as `dataset_path`.

    Each shard consists of a training file and a validation file. Existing files are kept, so an interrupted download
    resumes with the first missing file. Each downloaded file is verified before it is moved to the folder: it must be
    complete, every entry of the archive must have the checksum recorded in the archive, and if the folder's
    `SHA256SUMS` lists the file, its SHA-256 must match. A file that fails verification is discarded, and the next
    mirror is tried.

    - `name`: The name of the dataset, such as "cube-quadruple-play-100m-v0".
    - `directory`: The folder that contains the folders of the datasets.
    - `shards`: The number of shards to download, starting with the first; None for all.

    **Raises** `ValueError` for an unknown name, an invalid number of shards or an invalid `SHA256SUMS`, `DownloadError`
    if a file cannot be downloaded intact from any mirror, `BlockingIOError` while another process downloads the same
    dataset, and `OSError` if a file cannot be written.
    """
    if name not in SHARDS:
        raise ValueError(f"`name` must be one of {', '.join(SHARDS)}; got {name!r}.")
    if shards is not None and not 1 <= shards <= SHARDS[name]:
        raise ValueError(f"`shards` must be from 1 to {SHARDS[name]}, the number of shards of {name}; got {shards}.")
    folder = Path(directory).expanduser() / name
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f"{name}.partial")
    with folder_locked(partial, "downloading into"):
        try:
            known = _known_checksums(folder / CHECKSUMS)
            for number in range(shards or SHARDS[name]):
                train = folder / f"{name.removesuffix('-100m-v0')}-v0-{number:03d}.npz"
                for file in (validation_path(train), train):  # in this order: if the second exists, both do
                    if not file.exists():
                        _download_intact(name, partial / file.name, known.get(file.name))
                        os.replace(partial / file.name, file)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _download_intact(name: str, file: Path, checksum: str | None) -> None:
    failures = []
    for mirror in MIRRORS:
        try:
            download_file(f"{mirror}/{name}/{file.name}", file)
            _require_intact(file, checksum)
        except (*NETWORK_ERRORS, _DamagedFileError) as error:
            failures.append(f"{mirror}: {error}")
        else:
            return
    raise DownloadError(
        f"{file.name} of {name} could not be downloaded ({'; '.join(failures)}). The files downloaded so far "
        "are kept; run the command again to continue."
    )


class _DamagedFileError(Exception):
    """A file arrived in full, but is damaged."""


def _require_intact(file: Path, checksum: str | None) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise _DamagedFileError(f"it is damaged: {error}") from error
    if bad is not None:
        raise _DamagedFileError(f"it is damaged: the checksum of {bad} is wrong")
    if checksum is not None and sha256_of(file) != checksum:
        raise _DamagedFileError(f"its SHA-256 is not the one in {CHECKSUMS}")


def _known_checksums(file: Path) -> dict[str, str]:
    """The SHA-256 of each file that `file` lists; empty if there is no such list.

    **Raises** `ValueError` for a line that is not a checksum and a name.
    """
    if not file.exists():
        return {}
    known = {}
    for line in file.read_text().splitlines():
        checksum, _, name = line.partition(" ")
        if len(checksum) != 64 or not name.strip():
            raise ValueError(
                f"each line of {file} must be a SHA-256 and a file name, as `sha256sum` writes them; got {line!r}."
            )
        known[name.strip().removeprefix("*")] = checksum.lower()
    return known
