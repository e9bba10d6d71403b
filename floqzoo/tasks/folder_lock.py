"""Locks folders against other processes."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def folder_locked(folder: Path, work: str) -> Iterator[None]:
    """Creates a folder if necessary, and locks it against other processes while the block runs.

    The operating system releases the lock if this process ends early. The process that holds the lock may remove the
    folder when its work is done.

    - `work`: What the caller does with the folder, for the error message, such as "collecting into".

    **Raises** `BlockingIOError` if another process holds the lock, `OSError` if the folder cannot be created.
    """
    import fcntl

    folder.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            folder.mkdir(exist_ok=True)
            file = stack.enter_context((folder / "lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_ino != (folder / "lock").stat().st_ino:
                raise BlockingIOError
        # The latter two occur while the previous holder of the lock removes the folder.
        except (BlockingIOError, FileExistsError, FileNotFoundError) as error:
            raise BlockingIOError(f"another process is {work} {folder}. Wait until it ends.") from error
        yield
