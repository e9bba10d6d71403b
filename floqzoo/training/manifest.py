"""Folders that are written whole or not at all, and whose every byte is checked before it is read."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from floqzoo.tasks.files import sha256_of


MANIFEST = "manifest.json"


class DamagedError(ValueError):
    """A folder does not hold what was written to it."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields a partial folder; when the block ends well it gets a manifest, is on the disk, and becomes `path`.

    What a killed process left of an earlier attempt is removed.
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        digests = {name: sha256_of(partial / name) for name in _files(partial)}
        (partial / MANIFEST).write_text(_manifest_text(digests))
        _flush(partial)
        partial.rename(path)
        _flush_one(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def verify(folder: Path) -> None:
    """Checks that a folder holds exactly the files of its manifest, each with every byte as it was written.

    **Raises** `DamagedError`, naming the folder and the file.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes().decode()
        digests = json.loads(text)
        good = isinstance(digests, dict) and text == _manifest_text(digests)
    except (OSError, ValueError, RecursionError):
        good, digests = False, {}
    if not good:
        raise DamagedError(f"{folder} is damaged: its {MANIFEST} is missing, or not as it was written.")
    found = _files(folder)
    for name in sorted({*digests, *found} - {MANIFEST}):
        if name not in digests:
            raise DamagedError(f"{folder} is damaged: it has a file {name}, which was not written with it.")
        if name not in found or sha256_of(folder / name) != digests[name]:
            raise DamagedError(f"{folder} is damaged: {name} is not as it was written.")


def _manifest_text(digests: dict[str, Any]) -> str:
    return json.dumps(digests, indent=1, sort_keys=True) + "\n"


def _files(folder: Path) -> list[str]:
    """The names of all files below a folder; a link leads elsewhere, so it counts as damage."""
    entries = sorted(folder.rglob("*"))
    for entry in entries:
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise DamagedError(f"{folder} is damaged: {entry.relative_to(folder)} is no plain file.")
    return [entry.relative_to(folder).as_posix() for entry in entries if entry.is_file()]


def _flush(folder: Path) -> None:
    for entry in folder.rglob("*"):
        _flush_one(entry)
    _flush_one(folder)


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
