"""One process a run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


LOCK = ".lock"
"""The file that is locked: on NFS the lock of a folder would hold within one machine only."""


@contextmanager
def run_locked(directory: Path) -> Iterator[None]:
    """Keeps other processes from writing to a run; the system lifts the lock when this process ends, however it does.

    **Raises** `BlockingIOError` while another process is at it.
    """
    import fcntl

    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(f"another process is training in {directory}. Wait for it, or end it.") from error
        yield
    finally:
        os.close(descriptor)
