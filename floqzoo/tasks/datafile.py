"""Reads and validates files in OGBench's format."""

import io
import math
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from floqzoo.tasks.episodes import ARRAY_DTYPES, Episode
from floqzoo.tasks.input_arrays import require_zeros_and_ones


FRAME = (64, 64, 3)
"""The height, the width and the number of channels of an image frame."""

REQUIRED = ("observations", "actions", "terminals", "qpos")


def validation_path(path: Path) -> Path:
    """Returns the path of the validation file that belongs to a training file, following OGBench's naming."""
    return path.with_name(f"{path.stem}-val.npz")


def read_datafile(path: Path, *, needs_buttons: bool, pixels: bool = False) -> Episode:
    """Reads the arrays of an OGBench dataset, which have one row per state and contain concatenated episodes.

    - `needs_buttons`: Whether the array "button_states" is required, because the task's reward depends on it.
    - `pixels`: Whether observations are uint8 image frames.

    **Raises** `FileNotFoundError` if there is no such file; `ValueError` if the file is truncated or not an npz file,
    if an array is missing, contains Python objects, or has an invalid type, shape or contents, or if the arrays are too
    large in total.
    """
    keys = (*REQUIRED, "button_states") if needs_buttons else REQUIRED
    with opened_npz(path) as archive:
        require_arrays(path, archive, keys, "it is not an OGBench dataset, or not of this environment")
        arrays = {key: _checked(path, key, array, pixels) for key, array in read_arrays(path, archive, keys).items()}
    rows = len(arrays["observations"])
    for key, array in arrays.items():
        if len(array) != rows:
            raise ValueError(f"{path}: `{key}` must have {rows} rows, as `observations` has; got {len(array)}.")
    return arrays


@contextmanager
def opened_npz(path: Path) -> Iterator[zipfile.ZipFile]:
    """Opens an npz file, and yields its zip archive.

    **Raises** `FileNotFoundError` if there is no such file, `ValueError` if it is truncated or not an npz file.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        archive = zipfile.ZipFile(path)
    except _UNREADABLE as error:
        raise ValueError(f"{path} is truncated, or not an npz file: {error}.") from error
    with archive:
        yield archive


def array_names(archive: zipfile.ZipFile) -> set[str]:
    """Returns the names of the arrays in an npz file."""
    return {name.removesuffix(".npy") for name in archive.namelist()}


def require_arrays(path: Path, archive: zipfile.ZipFile, keys: Iterable[str], otherwise: str) -> None:
    """Checks that an npz file contains all arrays named in `keys`.

    **Raises** `ValueError` if an array is missing; the message lists the missing and the present arrays, and ends with
    the text `otherwise`.
    """
    present = array_names(archive)
    missing = [key for key in keys if key not in present]
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}, and has {', '.join(sorted(present)) or 'nothing'}; {otherwise}."
        )


# The errors that zipfile and NumPy raise for corrupt files; NotImplementedError is a RuntimeError.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, MemoryError, RuntimeError, ValueError)


MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
"""The total memory of this machine in bytes."""

MOST_HEADER_BYTES = 10_000
"""The maximum length of an array's header in bytes; NumPy writes about 120."""

MOST_DEFLATED = 1032
"""The largest ratio of uncompressed to compressed bytes that Deflate can achieve. An array with a larger ratio is
damaged."""


def available_memory() -> int:
    """Returns the available memory in bytes: Linux's estimate, or the total memory on other systems."""
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), MEMORY)


def require_memory(size: int) -> None:
    """Checks, before arrays are read, that their total size of `size` bytes fits into half of the available memory.

    The other half is left for the dataset that is built from the arrays.

    **Raises** `ValueError` if the arrays are too large; the message contains their size and the limit.
    """
    limit = available_memory() // 2
    if size > limit:
        raise ValueError(
            f"its arrays take {size:,} bytes; the limit is {limit:,} bytes, half of the available memory. Use a machine with "
            "more memory, or split the data into several files: the files in a folder are read one at a time."
        )


def _header(entry: Any) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and the dtype of an array, from the header of its entry.

    NumPy reads a header of any length before it checks the length, so the length is checked here first.

    Raises `ValueError` if the header is too long, or if the array contains Python objects.
    """
    version = np.lib.format.read_magic(entry)
    read, width = (
        (np.lib.format.read_array_header_1_0, 2) if version == (1, 0) else (np.lib.format.read_array_header_2_0, 4)
    )
    field = entry.read(width)
    length = int.from_bytes(field, "little")
    if length > MOST_HEADER_BYTES:
        raise ValueError(
            f"its header must have at most {MOST_HEADER_BYTES:,} bytes; it has {length:,}, so the file is damaged: download it "
            "again"
        )
    shape, _, dtype = read(io.BytesIO(field + entry.read(length)))
    if dtype.hasobject:
        raise ValueError("it contains Python objects")
    return shape, dtype


def _claimed_bytes(entry: Any) -> int:
    """The size in bytes of an entry, including its header, as the header states it; the array is not allocated."""
    shape, dtype = _header(entry)
    return entry.tell() + math.prod(shape) * dtype.itemsize


@dataclass(frozen=True)
class ArrayRecord:
    """The shape, the dtype and the CRC-32 checksum of an array, as recorded in its npz file.

    `read_arrays` verifies the checksum.
    """

    shape: tuple[int, ...]
    dtype: str
    checksum: int


def array_records(path: Path) -> dict[str, ArrayRecord]:
    """Returns the records of all arrays in an npz file, by name, without reading the arrays.

    **Raises** `FileNotFoundError` if there is no such file, `ValueError` if it is not a valid npz file.
    """
    with opened_npz(path) as archive:
        return {name: _record(path, archive, name) for name in sorted(array_names(archive))}


def _record(path: Path, archive: zipfile.ZipFile, name: str) -> ArrayRecord:
    with _naming(path, name):
        with archive.open(f"{name}.npy") as entry:
            shape, dtype = _header(entry)
        return ArrayRecord(shape, dtype.str, archive.getinfo(f"{name}.npy").CRC)


def read_arrays(path: Path, archive: zipfile.ZipFile, keys: Iterable[str]) -> dict[str, np.ndarray]:
    """Reads the arrays named in `keys`, and verifies their checksums.

    Before any array is decompressed, the size that the archive declares for each array is checked against the array's
    header and its compressed size, and the total size is checked with `require_memory`.

    **Raises** `ValueError` if an array is missing, is damaged or contains Python objects, or if the arrays are too
    large in total.
    """
    keys = list(keys)
    size = sum(_claimed_size(path, archive, key) for key in keys)
    try:
        require_memory(size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return {key: _read_array(path, archive, key) for key in keys}


def _claimed_size(path: Path, archive: zipfile.ZipFile, key: str) -> int:
    """The uncompressed size of an array in bytes, as recorded in the archive's directory.

    Raises `ValueError` if it contradicts the array's header or its compressed size.
    """
    with _naming(path, key):
        entry = archive.getinfo(f"{key}.npy")
        if entry.file_size > MOST_DEFLATED * entry.compress_size:
            raise ValueError(
                f"it declares {entry.file_size:,} bytes, more than its {entry.compress_size:,} compressed bytes can "
                "contain; the file is damaged, so download it again"
            )
        with archive.open(entry) as content:
            claimed = _claimed_bytes(content)
        if claimed != entry.file_size:
            raise ValueError(f"its header declares {claimed:,} bytes, but it contains {entry.file_size:,}")
        return entry.file_size


def _read_array(path: Path, archive: zipfile.ZipFile, key: str) -> np.ndarray:
    with _naming(path, key), archive.open(f"{key}.npy") as entry:
        array = np.lib.format.read_array(entry, allow_pickle=False)
        if entry.read(1):  # zipfile checks the checksum at the end of the entry
            raise ValueError("it is followed by extra bytes")
        return array


@contextmanager
def _naming(path: Path, key: str) -> Iterator[None]:
    """Turns an error about an array into a `ValueError` that names the file and the array."""
    try:
        yield
    except (*_UNREADABLE, KeyError) as error:
        raise ValueError(f"{path}: `{key}` cannot be read as plain numbers: {error}.") from error


def _checked(path: Path, key: str, array: np.ndarray, pixels: bool) -> np.ndarray:
    """Validates an array, and returns it in the dtype of the format."""
    if pixels and key == "observations":
        if array.dtype != np.uint8 or array.shape[1:] != FRAME:
            raise ValueError(
                f"{path}: `observations` must be uint8 of shape {('states', *FRAME)}; got {array.dtype} of {array.shape}."
            )
        return array
    rank = 1 if key == "terminals" else 2
    if array.ndim != rank:
        raise ValueError(f"{path}: `{key}` must have `ndim` {rank}; got the shape {array.shape}.")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{path}: `{key}` must be an array of real numbers; got dtype {array.dtype}.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise ValueError(f"{path}: `{key}` has a NaN or an infinity, first in row {row}.")
    if key == "terminals":
        require_zeros_and_ones(f"{path}: `terminals`", array)
    if ARRAY_DTYPES[key] is np.float32 and array.dtype != np.float32:
        raise ValueError(f"{path}: `{key}` must have dtype float32; got {array.dtype}.")
    if ARRAY_DTYPES[key] is np.int64 and array.dtype.kind not in "iub":
        raise ValueError(f"{path}: `{key}` must have an integer dtype; got {array.dtype}.")
    return array.astype(ARRAY_DTYPES[key], copy=False)
