"""Distribution of the seeds and batches of a run over devices and processes."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, Sharding
from jaxtyping import PyTree


SEEDS, BATCH = "seeds", "batch"
"""The names of the axes of a mesh."""


def one_device() -> Mesh:
    """Returns a mesh that contains only the first device of this process."""
    return _mesh(1, 1, jax.local_devices())


def mesh_for(seeds: int, batch_size: int) -> Mesh:
    """Returns a mesh that distributes seeds, and then the batch of each seed, evenly over as many devices as possible.

    Seeds are distributed first, because they need no communication. With 4 devices, for example, 8 seeds are placed two
    per device; 2 seeds get two devices each, with half of the seed's batch on each device; and a single seed has a
    quarter of its batch on each device. The devices of all processes are used.

    **Raises** `ValueError` if a process would have no work.
    """
    devices = jax.devices()
    over_seeds = _largest_divisor(seeds, len(devices))
    over_batch = _largest_divisor(batch_size, len(devices) // over_seeds)
    mesh = _mesh(over_seeds, over_batch, devices)
    idle = set(range(jax.process_count())) - {device.process_index for device in mesh.devices.flat}
    if idle:
        raise ValueError(
            f"`seeds` ({seeds}) and `agent.batch_size` ({batch_size}) can be distributed evenly over only {mesh.size} of "
            f"the {len(devices)} devices, which leaves process {min(idle)} without work. Start fewer processes, or choose "
            "multiples of the number of devices."
        )
    return mesh


def _largest_divisor(number: int, at_most: int) -> int:
    return max(count for count in range(1, at_most + 1) if number % count == 0)


def _mesh(over_seeds: int, over_batch: int, devices: list[Any]) -> Mesh:
    chosen = devices[: over_seeds * over_batch]
    return Mesh(np.array(chosen).reshape(over_seeds, over_batch), (SEEDS, BATCH))


def why_no_device() -> str | None:
    """Returns an explanation of why JAX has no device, or None if JAX has a device."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError):
        asked = os.environ.get("JAX_PLATFORMS", "")
        return (
            f"JAX has no device for JAX_PLATFORMS={asked!r}; `floqzoo doctor` shows what is missing, and JAX_PLATFORMS=cpu "
            "runs on the CPU."
        )
    return None


ADDRESS, COUNT, NUMBER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
_DAY = 24 * 60 * 60


def join_processes() -> None:
    """Connects to the other processes of a run, if the environment variables name a coordinator.

    `JAX_COORDINATOR_ADDRESS` is the `host:port` of the first process, `JAX_NUM_PROCESSES` the number of processes, and
    `JAX_PROCESS_ID` the index of this process, starting from 0. Under Slurm or Open MPI, and on TPUs, JAX detects the
    last two. Without `JAX_COORDINATOR_ADDRESS`, the function does nothing. It must be called before any device is used.

    **Raises** `ValueError` if `JAX_NUM_PROCESSES` or `JAX_PROCESS_ID` is not a number, or is missing and JAX cannot
    detect it; `ConnectionError` if `JAX_PROCESS_ID` is above 0, and the address is malformed or does not answer within
    five minutes.
    """
    if ADDRESS not in os.environ:
        return
    if _number(NUMBER):
        _wait_for(os.environ[ADDRESS])
    # At the end the other processes wait for the evaluation of the first process, so the timeout is long.
    jax.distributed.initialize(num_processes=_number(COUNT), process_id=_number(NUMBER), shutdown_timeout_seconds=_DAY)


PATIENCE_SECONDS = 300.0
"""The time in seconds that a process waits for the first process; JAX's own timeout has the same length."""


def _wait_for(address: str) -> None:
    """Waits until something answers at an address; if nothing did, JAX would end the process with a stack trace."""
    host, _, port = address.rpartition(":")
    latest = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=10):
                return
        except (OSError, ValueError) as error:
            if time.monotonic() > latest or not isinstance(error, OSError):
                raise ConnectionError(
                    f"{ADDRESS} must be the HOST:PORT of the first process; got {address}: {error}."
                ) from error
            time.sleep(min(1.0, PATIENCE_SECONDS))


def is_first() -> bool:
    """Returns whether this is the first process, the only one that evaluates, writes files and prints."""
    return jax.process_index() == 0


@contextmanager
def first_alone() -> Iterator[None]:
    """A context manager that lets the first process finish the block before the other processes start it."""
    if not is_first():
        agreed(0)
    yield
    if is_first():
        agreed(0)


def agreed(number: int) -> int:
    """Returns the maximum of a number over all processes. Waits until all processes have called this function."""
    if jax.process_count() == 1:
        return number
    from jax.experimental import multihost_utils

    return int(np.max(multihost_utils.process_allgather(np.asarray(number))))


def placed(tree: PyTree, sharding: Sharding) -> PyTree:
    """Places arrays on the devices of all processes; all processes must pass the same arrays."""
    return jax.tree.map(lambda leaf: _placed(leaf, sharding), tree)


def local(tree: PyTree) -> PyTree:
    """Returns the copies of replicated arrays that are on the first device of this process."""
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
