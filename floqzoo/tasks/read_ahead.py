"""Reads the shards of a dataset in another process, one shard ahead."""

import multiprocessing
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import jax
import numpy as np

from floqzoo.tasks.own_code import ForAnotherProcess
from floqzoo.tasks.sharded_dataset import ShardedDataset, ShardReader
from floqzoo.tasks.worker_process import follow_parent


class ShardError(OSError):
    """Raised if a shard cannot be read."""


class ReadAhead:
    """Reads shards of a dataset in another process, at most one shard ahead.

    The reading process starts on the first request. It does not use the accelerator, it ignores Ctrl-C and SIGTERM,
    and it ends when its parent process ends, even if the parent is killed.

    - `dataset`: The sharded dataset.
    """

    def __init__(self, dataset: ShardedDataset):
        self._paths = dataset.paths
        self._pool = ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(ForAnotherProcess.of(dataset.reader), jax.config.jax_enable_x64),  # pyright: ignore[reportAttributeAccessIssue]
        )
        self._ahead: tuple[int, Future[dict[str, np.ndarray]]] | None = None

    def request(self, number: int) -> None:
        """Starts reading the shard at index `number`, unless it is already being read, and returns immediately.

        **Raises** `ShardError` if the process has died.
        """
        if self._ahead is not None and self._ahead[0] == number:
            return
        try:
            self._ahead = number, self._pool.submit(_read, self._paths[number])
        except BrokenProcessPool as error:
            raise self._death(number) from error

    def receive(self, number: int) -> dict[str, np.ndarray]:
        """Waits until the shard at index `number` has been read, and returns its arrays as `ShardReader` does.

        **Raises** `ShardError` if the file cannot be read or the process has died; the message names the file.
        """
        self.request(number)
        assert self._ahead is not None
        _, shard = self._ahead
        self._ahead = None
        try:
            return shard.result()
        except BrokenProcessPool as error:
            raise self._death(number) from error
        except (ValueError, OSError, MemoryError) as error:
            raise ShardError(str(error) or f"{self._paths[number]}: {error!r}") from error

    def close(self) -> None:
        """Ends the process once it has read the current file. This method can be called more than once."""
        self._ahead = None
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _death(self, number: int) -> ShardError:
        return ShardError(
            f"the process that reads shards died before it had read {self._paths[number]}. Possible causes: too little "
            'memory, a signal, a reader that it cannot import, or a script without `if __name__ == "__main__":`.'
        )


_reader: ShardReader | None = None


def _start(reader: ForAnotherProcess, x64: bool) -> None:
    """Initialises the process that reads."""
    global _reader
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    follow_parent()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", x64)
    _reader = reader.value()


def _read(path: Path) -> dict[str, np.ndarray]:
    if _reader is None:
        raise RuntimeError("the process has no reader.")
    return _reader(path)
