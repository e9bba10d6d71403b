"""The devices and processes that share the seeds and batches of a run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, Sharding
from jaxtyping import PyTree


SEEDS, BATCH = "seeds", "batch"
"""The axes of a mesh."""


def one_device() -> Mesh:
    """The first device of this process alone."""
    return _mesh(1, 1, jax.local_devices())


def mesh_for(seeds: int, batch_size: int) -> Mesh:
    """As many devices as can share the seeds evenly, times as many of what is left as can share each batch evenly.

    Seeds say nothing to each other, so they are shared first: 8 seeds on 4 devices are two each; 2 seeds are two pairs of
    devices, of which each has half of a batch; a single seed has a quarter of each batch on every device. All
    devices of all processes are counted.

    **Raises** `ValueError` if a process would have no part.
    """
    devices = jax.devices()
    over_seeds = _largest_divisor(seeds, len(devices))
    over_batch = _largest_divisor(batch_size, len(devices) // over_seeds)
    mesh = _mesh(over_seeds, over_batch, devices)
    idle = set(range(jax.process_count())) - {device.process_index for device in mesh.devices.flat}
    if idle:
        raise ValueError(
            f"`seeds` ({seeds}) and `agent.batch_size` ({batch_size}) can be shared evenly by {mesh.size} of the "
            f"{len(devices)} devices, which leaves process {min(idle)} without any. Start fewer processes, or choose "
            "numbers that the devices divide."
        )
    return mesh


def _largest_divisor(number: int, at_most: int) -> int:
    return max(count for count in range(1, at_most + 1) if number % count == 0)


def _mesh(over_seeds: int, over_batch: int, devices: list[Any]) -> Mesh:
    chosen = devices[: over_seeds * over_batch]
    return Mesh(np.array(chosen).reshape(over_seeds, over_batch), (SEEDS, BATCH))


ADDRESS, COUNT, NUMBER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
_DAY = 24 * 60 * 60


def join_processes() -> None:
    """Joins the other processes of a run, where the environment names the one that all of them can reach.

    That is `JAX_COORDINATOR_ADDRESS`, as `host:port` of the first process. `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID` say
    how many there are and which one this is, from 0; under Slurm, Open MPI and on TPUs JAX knows them. Without an address
    nothing is done. It must be called before any device is used.

    **Raises** `ValueError` if a number is none, or is not given where JAX does not know it.
    """
    if ADDRESS not in os.environ:
        return
    # Others wait at the end while the first evaluates, however long that takes.
    jax.distributed.initialize(num_processes=_number(COUNT), process_id=_number(NUMBER), shutdown_timeout_seconds=_DAY)


def is_first() -> bool:
    """Whether this process is the one that evaluates, writes and prints."""
    return jax.process_index() == 0


@contextmanager
def first_alone() -> Iterator[None]:
    """Lets the first process finish a block before any other begins it."""
    if not is_first():
        agreed(0)
    yield
    if is_first():
        agreed(0)


def agreed(number: int) -> int:
    """The greatest of the numbers that all processes bring; each must ask, and waits for the others."""
    if jax.process_count() == 1:
        return number
    from jax.experimental import multihost_utils

    return int(np.max(multihost_utils.process_allgather(np.asarray(number))))


def placed(tree: PyTree, sharding: Sharding) -> PyTree:
    """Puts arrays, which every process has, on the devices of all processes."""
    return jax.tree.map(lambda leaf: _placed(leaf, sharding), tree)


def local(tree: PyTree) -> PyTree:
    """Of arrays that are the same on every device those on the first device of this process."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def _placed(leaf: jax.Array | np.ndarray, sharding: Sharding) -> jax.Array:
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _placed(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    host = np.asarray(leaf)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _number(name: str) -> int | None:
    text = os.environ.get(name)
    if text is not None and not text.isdecimal():
        raise ValueError(f"the environment variable {name} must be a number; got {text!r}.")
    return None if text is None else int(text)
