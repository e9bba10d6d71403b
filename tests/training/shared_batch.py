"""Trains tiny agents on the four forced devices of this process and on one of them.

Prints for each method and number of seeds how the devices share them, how far apart both are after a few updates, and the
share of the floating-point operations that a device has.
"""

import json
from functools import partial
from unittest.mock import patch

import jax
import numpy as np
from toy_run import toy_task

from floqzoo.learner import (
    NStep,
    ScannedUpdate,
    UniformBatches,
    build_agents,
    scanned_update,
    update_keys,
)
from floqzoo.learner.devices import mesh_for
from recipes.floq import FloqConfig, floq
from recipes.fql import FQLConfig, fql


BATCH, UPDATES = 32, 3
TINY = {"actor_hidden_dims": (32, 32), "value_hidden_dims": (32, 32), "batch_size": BATCH}
METHODS = {
    "floq": (floq, FloqConfig(**TINY, noise_samples=2, critic_flow_steps=2, block_width=32, block_depth=2)),
    "fql": (fql, FQLConfig(**TINY)),
}


def trained(agents, seeds, source, mesh):
    """The agents' arrays on the host, and the operations of one device."""
    update = ScannedUpdate(agents, BATCH, UPDATES, source=source, mesh=mesh)
    arrays, keys, data = update.arrays(agents), update.spread(update_keys(seeds)), update.everywhere(toy_task().dataset)
    program = update.compile(arrays, data, keys, 0)
    arrays, metrics = update(arrays, data, keys, 0)
    return jax.device_get((update.gathered(arrays), metrics.mean)), program.cost_analysis()["flops"]


def difference(one, other):
    """The greatest difference of two trees, relative to the greatest number of each leaf."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(np.max(np.abs(a - b)) / (np.max(np.abs(b)) + 1e-300)) for a, b in pairs)


def compare(method, seeds, at_once):
    build, config = METHODS[method]
    source = UniformBatches(NStep(2, 0.9))
    make = partial(build, observation_dim=2, action_dim=1, reward_range=(-1.0, 0.0), config=config)
    agents, mesh = build_agents(lambda key: make(key=key), range(seeds)), mesh_for(seeds, BATCH)
    # On an accelerator the seeds of a device are trained at once.
    with patch.object(scanned_update, "over_seeds", jax.vmap if at_once else scanned_update.over_seeds):
        several, part = trained(agents, range(seeds), source, mesh)
    one, whole = trained(agents, range(seeds), source, None)
    return {
        "method": method,
        "seeds": seeds,
        "mesh": list(mesh.devices.shape),
        "difference": difference(several, one),
        # Of seeds one after another the loop's body is counted, which is one seed.
        "share": part / (seeds if at_once else 1) / whole,
    }


if __name__ == "__main__":
    cases = [("floq", 1, False), ("fql", 2, False), ("fql", 5, True)]
    print(json.dumps([compare(*case) for case in cases]))
