"""Trains some toy seeds on as many devices as there are, with settings in JSON, and prints how many devices that were."""

import json
import sys
from pathlib import Path

import jax
from toy_run import toy_build, toy_config, toy_task

from floqzoo.learner import ScannedUpdate
from floqzoo.training import train


if __name__ == "__main__":
    devices = []
    call = ScannedUpdate.__call__

    def watched(update, arrays, *arguments):
        devices.append({shard.device for leaf in jax.tree.leaves(arrays) for shard in leaf.addressable_shards})
        return call(update, arrays, *arguments)

    ScannedUpdate.__call__ = watched
    train(toy_build, toy_task(), toy_config(**json.loads(sys.argv[2])), Path(sys.argv[1]), resumed=True)
    assert all(found == devices[0] for found in devices)
    print("devices", len(devices[0]))
