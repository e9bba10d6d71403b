"""One process at a time at work in a folder."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def folder_locked(folder: Path, work: str) -> Iterator[None]:
    """Makes a folder and keeps other processes from the same work; the system lifts the lock when this process ends.

    Whoever has the lock may remove the folder when the work is done.

    - `work`: What is done, in words, such as "collecting into".

    **Raises** `BlockingIOError` while another process is at it, `OSError` if the folder cannot be made.
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
        # The latter two where whoever had it is just removing it.
        except (BlockingIOError, FileExistsError, FileNotFoundError) as error:
            raise BlockingIOError(f"another process is {work} {folder}. Wait for it.") from error
        yield
