"""Trains some toy seeds on as many devices as there are, and prints how many that were."""

import sys
from pathlib import Path

import jax
from toy_run import toy_build, toy_config, toy_task

from floqzoo.training import ScannedUpdate, train


if __name__ == "__main__":
    devices = []
    call = ScannedUpdate.__call__

    def watched(update, arrays, *arguments):
        devices.append({shard.device for leaf in jax.tree.leaves(arrays) for shard in leaf.addressable_shards})
        return call(update, arrays, *arguments)

    ScannedUpdate.__call__ = watched
    config = toy_config(seeds=int(sys.argv[2]), save_interval=5, eval_interval=0)
    train(toy_build, toy_task(), config, Path(sys.argv[1]), resumed=True)
    assert all(found == devices[0] for found in devices)
    print("devices", len(devices[0]))
