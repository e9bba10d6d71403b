r"""Datasets that are split into several files, of which only one is on the device at a time."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.records import Transition
from floqzoo.tasks.datafile import array_records
from floqzoo.tasks.dataset import Dataset
from floqzoo.typing import Array, Key


EXCERPT = 10_000
"""The minimum number of transitions in the excerpt of a sharded dataset, if the first shard has that many."""


@dataclass(frozen=True)
class ShardReader:
    """Reads the arrays of a shard into host memory. Instances can be pickled.

    - `read`: A function that reads a file as a `Dataset`.
    - `form`: The shapes and the dtype that every shard must have, as described by `form_of`.
    - `reward_range`: A range that must contain all rewards of every shard.
    """

    read: Callable[[Path], Dataset]
    form: str
    reward_range: tuple[float, float]

    def __call__(self, path: Path) -> dict[str, np.ndarray]:
        """Reads the shard in a file, and returns its arrays, keyed by the field names of `Dataset`.

        **Raises** the errors of `checked` and `read`.
        """
        shard = self.checked(path, self.read(path))
        return {name: np.asarray(leaf) for name, leaf in vars(shard).items() if eqx.is_array(leaf)}

    def checked(self, path: Path, shard: Dataset) -> Dataset:
        """Checks the shapes, the dtype and the rewards of a shard that was read from `path`, and returns the shard.

        **Raises** `ValueError` if the shard does not have the shapes and the dtype of `form`, or if its rewards are not
        in `reward_range`.
        """
        if form_of(shard) != self.form:
            raise ValueError(
                f"{path} contains {form_of(shard)}; every shard must contain {self.form}, as the first one does."
            )
        (low, high), (least, greatest) = self.reward_range, shard.reward_range
        if not low <= least <= greatest <= high:
            raise ValueError(
                f"{path} has rewards from {least:g} to {greatest:g}; they must be in the `reward_range` [{low:g}, {high:g}]."
            )
        return shard


class ShardedDataset:
    r"""A dataset that is split into several files, called shards, each read as a [`Dataset`][floqzoo.tasks.Dataset].

    During training, one shard is on the device while the next one is being read; see
    [`ResidentShard`][floqzoo.training.resident_shard.ResidentShard]. All shards must have the same number of states and
    the same number of transitions, so that a program compiled for one shard can run on all of them. This class keeps
    only an excerpt of the first shard on the device.

    - `paths`: The npz files, in the order in which they are used. The constructor reads only the first file and the
      headers of the others.
    - `read`: A function that reads a file as a `Dataset`. It is called in another process, so it must be picklable: a
      function at the top level of a module or file is, but a lambda is not. Examples are
      [`read_dataset`][floqzoo.tasks.read_dataset] and [`TaskReader`][floqzoo.tasks.load.TaskReader].
    - `reward_range`: A range that contains the rewards of all shards. It must be given, because agents need it before
      all shards have been read. Each shard is checked against it.

    The attribute `excerpt` contains the first episodes of the first shard, with at least 10,000 transitions in total,
    or the whole shard if it has fewer transitions.

    **Raises** `ValueError` if `paths` is empty, if a file is damaged, if the arrays of a file differ from those of the
    first file in name, shape or dtype, or if a reward in the first file is outside `reward_range`; `FileNotFoundError`
    if a file is missing; and any error of `read`.
    """

    def __init__(
        self, paths: Sequence[Path | str], read: Callable[[Path], Dataset], *, reward_range: tuple[float, float]
    ):
        if not paths:
            raise ValueError("`paths` must have at least one file; got none.")
        self.paths = tuple(Path(path) for path in paths)
        records = [array_records(path) for path in self.paths]
        for path, record in zip(self.paths, records, strict=True):
            _require_same_arrays(path, record, self.paths[0], records[0])
        first = read(self.paths[0])
        self.reader = ShardReader(read, form_of(first), reward_range)
        self.reader.checked(self.paths[0], first)
        self.reward_range = reward_range
        self.excerpt = first_episodes(first, EXCERPT)
        self.observation_dim, self.action_dim = first.observation_dim, first.action_dim
        self.action_bounds = first.action_bounds
        self.shard_size = first.size
        self.shard_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(first))
        self._contents = repr(records)

    def __str__(self) -> str:
        """Returns a summary in one line."""
        return (
            f"{len(self.paths):,} shards of {self.shard_size:,} transitions each, {self.size:,} in all; one shard "
            f"({self.shard_bytes / 1e6:,.1f} MB) is on the device at a time"
        )

    @property
    def size(self) -> int:
        """The number of transitions in all shards."""
        return len(self.paths) * self.shard_size

    @property
    def observations(self) -> Float[Array, "states observation"]:
        """The observations of the first shard, for computing statistics such as those of a normaliser.

        The file is read on each access.
        """
        return self.reader.read(self.paths[0]).observations

    def sample(self, key: Key, batch_size: int) -> Transition:
        """Samples transitions uniformly from the excerpt, with replacement. No file is read."""
        return self.excerpt.sample(key, batch_size)

    def fingerprint(self) -> str:
        """Returns a SHA-256 hash, in hexadecimal, of the excerpt and of the checksums recorded in the files.

        This does not read the files. Their checksums are verified later, when each shard is read.
        """
        return hashlib.sha256(f"{self._contents}{self.excerpt.fingerprint()}".encode()).hexdigest()


def excerpt_of(dataset: Any) -> Any:
    """Returns the excerpt of a sharded dataset, and any other dataset unchanged."""
    return dataset.excerpt if isinstance(dataset, ShardedDataset) else dataset


def shard_paths(folder: Path) -> list[Path]:
    """Returns the training files in a folder of shards, sorted by name, without the validation files ("-val.npz").

    **Raises** `FileNotFoundError` if the folder contains no training files, or if all of them are numbered, as in
    "cube-single-play-v0-000.npz", but a number is missing.
    """
    paths = sorted(path for path in folder.glob("*.npz") if not path.stem.endswith("-val"))
    if not paths:
        raise FileNotFoundError(f"there is no npz file in the folder {folder}.")
    stems = [path.stem.rpartition("-") for path in paths]
    if all(len(number) == 3 and number.isdecimal() for *_, number in stems):
        for count, (name, _, number) in enumerate(stems):
            if int(number) != count:
                raise FileNotFoundError(
                    f"there is no file {folder / f'{name}-{count:03d}.npz'}, although there are later shards."
                )
    return paths


def form_of(dataset: Dataset) -> str:
    """Returns a description of the shapes and the dtype of a dataset, as text."""
    known = "" if dataset.next_starts is None else f" ({dataset.next_starts.shape[0]:,} with known next actions)"
    return (
        f"{dataset.observations.shape[0]:,} states and {dataset.size:,} transitions{known} with {dataset.observation_dim} "
        f"{dataset.observations.dtype} numbers in an observation and {dataset.action_dim} in an action"
    )


def first_episodes(dataset: Dataset, transitions: int) -> Dataset:
    """Returns, as a dataset, the fewest leading episodes with at least `transitions` transitions in total.

    If the dataset has fewer transitions, all of its episodes are returned.
    """
    starts, last = np.asarray(dataset.starts), np.asarray(dataset.last)
    end = int(last[starts[min(transitions, dataset.size) - 1]])

    def up_to_end(field: str) -> Any:
        array = getattr(dataset, field)
        if array is None:
            return None
        rows = np.asarray(array)
        # Copies: an array of JAX may alias one of NumPy, and a view would keep the whole shard in memory.
        return jnp.asarray(np.array(rows[rows < end] if field.endswith("starts") else rows[: end + 1]))

    arrays = (name for name in vars(dataset) if name != "action_bounds")
    return Dataset(**{name: up_to_end(name) for name in arrays}, action_bounds=dataset.action_bounds)


def _require_same_arrays(path: Path, records: dict, first_path: Path, first: dict) -> None:
    if records.keys() != first.keys():
        raise ValueError(
            f"{path} has the arrays {', '.join(records) or 'none'}; every shard must have those of {first_path.name}: "
            f"{', '.join(first)}."
        )
    for name, record in records.items():
        found, wanted = (f"{each.dtype}{list(each.shape)}" for each in (record, first[name]))
        if found != wanted:
            raise ValueError(f"{path}: `{name}` is {found}; every shard must have {wanted}, as in {first_path.name}.")
