"""Trains four toy seeds on as many devices as there are, and prints how many that were."""

import sys
from pathlib import Path

import jax
from toy_run import toy_build, toy_config, toy_task

from floqzoo.training import loop, train


if __name__ == "__main__":
    devices = []
    run_updates = loop._Run.run_updates

    def watched(run):
        devices.append({shard.device for leaf in jax.tree.leaves(run.arrays) for shard in leaf.addressable_shards})
        run_updates(run)

    loop._Run.run_updates = watched
    config = toy_config(seeds=int(sys.argv[2]), save_interval=5, eval_interval=0)
    train(toy_build, toy_task(), config, Path(sys.argv[1]), resumed=True)
    assert all(found == devices[0] for found in devices)
    print("devices", len(devices[0]))
