"""Datasets of several files, written by the tests."""

import multiprocessing
import os
import signal

import numpy as np

from floqzoo.tasks import ShardedDataset
from floqzoo.tasks.datafile import opened_npz, read_arrays
from floqzoo.tasks.dataset import make_dataset


ARRAYS = ("observations", "actions", "rewards", "masks", "terminals")


def random_arrays(seed, states=60, episode=20, dtype=np.float32):
    """Episodes of equal length, with observations of two numbers, actions of one and rewards in [-1, 0]."""
    random = np.random.default_rng(seed)
    return {
        "observations": random.normal(size=(states, 2)).astype(dtype),
        "actions": random.uniform(-1, 1, (states, 1)).astype(dtype),
        "rewards": -random.uniform(size=states).astype(dtype),
        "masks": np.ones(states, dtype),
        "terminals": np.arange(states) % episode == episode - 1,
    }


def write_shards(folder, count=3, **form):
    """The paths of `count` shards with different numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"line-v0-{number:03d}.npz" for number in range(count)]
    for number, path in enumerate(paths):
        np.savez(path, **random_arrays(number, **form))
    return paths


def read_shard(path):
    with opened_npz(path) as archive:
        return make_dataset(**read_arrays(path, archive, ARRAYS))


def read_or_die(path):
    """Dies of the second shard, in a process of its own."""
    if path.stem.endswith("001") and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return read_shard(path)


def written(folder, count=3, read=read_shard, **form):
    return ShardedDataset(write_shards(folder, count, **form), read, reward_range=(-1.0, 0.0))


def damage(path):
    """Changes numbers of an array, and returns the bytes before."""
    before = path.read_bytes()
    middle = before.index(read_shard(path).observations.tobytes()) + 100
    path.write_bytes(before[:middle] + bytes(8) + before[middle + 8 :])
    return before
