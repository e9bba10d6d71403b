"""Holds one shard of a sharded dataset on the devices, and reads the next one in advance."""

from collections.abc import Callable

from jaxtyping import PyTree

from floqzoo.runs.configuration import RunConfig
from floqzoo.tasks.dataset import Dataset
from floqzoo.tasks.read_ahead import ReadAhead
from floqzoo.tasks.sharded_dataset import ShardedDataset


class ResidentShard:
    r"""Holds the current shard on the devices, while another process reads the next one.

    The shards are used in order, cyclically. With $S$ shards, update $i$ (counted from 0) samples from shard
    $\lfloor i / n \rfloor \bmod S$, where $n$ is the interval. The order is the same for every seed. Since the shard
    depends only on the step, a resumed run continues with the right one. The devices hold one shard, which is released
    before the next one is placed there. The host holds at most one more shard, which is read in advance.

    - `dataset`: The sharded dataset.
    - `interval`: $n$, the number of consecutive updates that sample from the same shard.
    - `updates`: The number of updates of the run; a shard that would be used after the last one is not read.
    - `place`: A function that places the arrays of a shard on the devices.
    """

    def __init__(self, dataset: ShardedDataset, interval: int, updates: int, place: Callable[[PyTree], PyTree]):
        self._shards, self._interval, self._updates, self._place = len(dataset.paths), interval, updates, place
        self._ahead = ReadAhead(dataset)
        self._number: int | None = None
        self._shard: Dataset | None = None

    def number(self, step: int) -> int:
        """Returns the index of the shard that update `step` samples from."""
        return step // self._interval % self._shards

    def at(self, step: int) -> Dataset:
        """Returns the shard that update `step` samples from, on the devices; waits until it has been read.

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
    """Checks that `config.dataset_replace_interval` is set only for a sharded dataset.

    **Raises** `ValueError` if it is set although the dataset is not sharded.
    """
    if config.dataset_replace_interval is not None and not isinstance(dataset, ShardedDataset):
        raise ValueError(
            "`dataset_replace_interval` must be None, since it only applies to a dataset of several files, for which "
            f"`dataset_path` is a folder; got {config.dataset_replace_interval}."
        )
