"""The shard of a dataset that is on the devices."""

from collections.abc import Callable

from jaxtyping import PyTree

from floqzoo.runs.configuration import RunConfig
from floqzoo.tasks.dataset import Dataset
from floqzoo.tasks.read_ahead import ReadAhead
from floqzoo.tasks.sharded_dataset import ShardedDataset


class ResidentShard:
    r"""Holds the current shard on the devices, while another process reads the next one.

    Update $i$, counted from 0, samples from shard $\lfloor i / n \rfloor \bmod S$ of $S$ shards, with $n$ the interval:
    the files are used cyclically, in order. The order is the same for every seed, and the shard of a resumed run
    follows from its step. The devices hold one shard: it is released before the next one is placed. The host holds at
    most one more, which is read ahead.

    - `dataset`: The sharded dataset.
    - `interval`: $n$, the number of consecutive updates that sample from the same shard.
    - `updates`: The number of updates of the run; nothing is read ahead beyond it.
    - `place`: Places arrays on the devices.
    """

    def __init__(self, dataset: ShardedDataset, interval: int, updates: int, place: Callable[[PyTree], PyTree]):
        self._shards, self._interval, self._updates, self._place = len(dataset.paths), interval, updates, place
        self._ahead = ReadAhead(dataset)
        self._number: int | None = None
        self._shard: Dataset | None = None

    def number(self, step: int) -> int:
        """The index of the shard that update `step` samples from."""
        return step // self._interval % self._shards

    def at(self, step: int) -> Dataset:
        """The shard that update `step` samples from, on the devices; waits for it if it has not been read yet.

        **Raises** `ShardError` if the shard cannot be read.
        """
        number = self.number(step)
        if self._shard is None or number != self._number:
            self._shard = None
            self._shard = Dataset(**self._place(self._ahead.receive(number)))
            self._number = number
            following = (step // self._interval + 1) * self._interval
            if following < self._updates and self.number(following) != number:
                self._ahead.request(self.number(following))
        return self._shard

    def close(self) -> None:
        """Ends the process that reads shards, and releases the current shard."""
        self._shard = None
        self._ahead.close()


def require_replaceable(config: RunConfig, dataset: object) -> None:
    """Checks that `dataset_replace_interval` is set only for a sharded dataset.

    **Raises** `ValueError` if `config.dataset_replace_interval` is set and the dataset is not sharded.
    """
    if config.dataset_replace_interval is not None and not isinstance(dataset, ShardedDataset):
        raise ValueError(
            "`dataset_replace_interval` must be None, since it only applies to a dataset of several files, for which "
            f"`dataset_path` is a folder; got {config.dataset_replace_interval}."
        )
