"""How the devices of a run share its seeds and its batches."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh


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
