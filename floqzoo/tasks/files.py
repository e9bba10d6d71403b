"""Writes files atomically, and reads and writes JSON."""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`; the file written there replaces `path` if the block succeeds."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # matched by `_TEMPORARY`
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


PATIENCE_SECONDS = 60.0
"""The age in seconds above which a temporary file is assumed to have been left behind by a killed process."""


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files of `replacing` that killed processes left behind in a folder.

    Younger files than `PATIENCE_SECONDS` are kept, because another process may be writing them. The lock of a run does
    not exclude this: figures and records, such as `machine.json` when a run resumes, are written without it.
    """
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):  # another process may have removed it, or the folder is read-only
            if _TEMPORARY.fullmatch(path.name) and time.time() - path.stat().st_mtime > PATIENCE_SECONDS:
                path.unlink()


def write_json(path: Path, content: Any) -> None:
    """Writes `content` to a JSON file, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a file.

    **Raises** `FileNotFoundError` if there is no such file; `ValueError` if it does not contain a JSON object.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} does not contain JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must contain a JSON object; it contains a {type(content).__name__}.")
    return content


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
