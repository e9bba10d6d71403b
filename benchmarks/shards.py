"""What replacing the shards of a dataset adds to an update, and whether it is hidden behind the updates.

    python benchmarks/shards.py --transitions 1000000 --observation_dim 55 --interval 1000 --out shards

writes shards of random numbers, compressed as OGBench's are, and runs the same updates of FQL twice: on one shard that stays on
the device, and on shards that are replaced every `interval` updates while another process reads the next one. It prints seconds
per update, the part of them that training waited for the next shard, the seconds that the other process needs for a shard, and
the bytes of a shard. Replacement is hidden if the waits are a small part; that needs `interval` updates to take longer than a
shard takes to read.
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro


sys.path.insert(0, str(Path(__file__).parents[1]))

from floqzoo.learner import build_agents, update_keys
from floqzoo.learner.devices import one_device
from floqzoo.runs import RunConfig
from floqzoo.runs.recipe import agent_builder, standard_batches
from floqzoo.studies.report import number, print_table, write_rows
from floqzoo.tasks import Dataset, ShardedDataset, make_dataset
from floqzoo.tasks.datafile import opened_npz, read_arrays
from floqzoo.training.phases import OfflinePhase
from recipes.fql import RECIPE, FQLConfig


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    transitions: int = 1_000_000
    """Transitions of a shard."""
    observation_dim: int = 55
    """Coordinates of an observation; the simulator's positions, which label rewards, have as many."""
    action_dim: int = 5
    """Coordinates of an action."""
    shards: int = 3
    """Files; each is used again after the last one."""
    interval: int = 1_000
    """Updates on a shard."""
    intervals: int = 4
    """Shards that are used one after another."""
    width: int = 512
    """Units of each of the four hidden layers."""
    out: Path = Path("shards")
    """Where the table goes."""


@dataclass(frozen=True)
class Row:
    """A run of all updates: seconds per update with and without the waits for a shard, and the waits' share."""

    dataset: str
    seconds_per_update: float
    without_waiting: float
    waiting_share: float
    longest_wait_seconds: float


STEPS = 1_000
"""Transitions of an episode, as in OGBench's manipulation tasks."""
ARRAYS = ("observations", "actions", "terminals", "qpos")


def write_shard(path: Path, settings: Settings, seed: int) -> Path:
    """Writes random numbers in OGBench's layout."""
    random = np.random.default_rng(seed)
    episodes = max(1, settings.transitions // STEPS)
    states = settings.transitions + episodes
    terminals = np.zeros(states, bool)
    terminals[np.linspace(0, states, episodes + 1, dtype=int)[1:] - 1] = True
    np.savez_compressed(
        path,
        observations=random.standard_normal((states, settings.observation_dim), np.float32),
        actions=random.uniform(-1, 1, (states, settings.action_dim)).astype(np.float32),
        terminals=terminals,
        qpos=random.standard_normal((states, settings.observation_dim), np.float32),
    )
    return path


def read_shard(path: Path) -> Dataset:
    """The transitions, with rewards that are computed from the positions."""
    with opened_npz(path) as archive:
        arrays = read_arrays(path, archive, ARRAYS)
    met = np.linalg.norm(arrays.pop("qpos")[:, :3], axis=1) < 1
    return make_dataset(**arrays, rewards=met.astype(np.float32) - 1, masks=1 - met.astype(np.float32))


def measured(name: str, dataset: Dataset | ShardedDataset, settings: Settings) -> Row:
    """Runs all updates on a dataset, after its first shard and the program are there."""
    agent = FQLConfig(actor_hidden_dims=(settings.width,) * 4, value_hidden_dims=(settings.width,) * 4)
    config = RunConfig(
        agent=agent,
        env_name="random",
        offline_steps=settings.interval * settings.intervals,
        log_interval=settings.interval,
        eval_interval=0,
        save_interval=0,
        dataset_replace_interval=settings.interval if isinstance(dataset, ShardedDataset) else None,
    )
    sizes = {"observation_dim": dataset.observation_dim, "action_dim": dataset.action_dim}
    agents = build_agents(agent_builder(RECIPE, agent, **sizes, reward_range=(-1.0, 0.0)), [0])
    phase = OfflinePhase(config, 0, agents, dataset, standard_batches(config, False), one_device())
    arrays, keys = phase.update.arrays(agents), phase.update.spread(update_keys([0]))
    waits, begun = [], 0.0
    try:
        phase.begin(None)
        phase.compile(arrays, keys)
        for step in range(0, config.offline_steps, phase.steps):
            begun = begun or time.monotonic()
            start = time.monotonic()
            phase.prepare(step)
            waits.append(time.monotonic() - start)
            arrays, (metrics,) = phase.advance(arrays, keys, step)
            next(iter(metrics.mean.values())).block_until_ready()
        seconds = time.monotonic() - begun
    finally:
        phase.close()
    updates = config.offline_steps
    return Row(name, seconds / updates, (seconds - sum(waits)) / updates, sum(waits) / seconds, max(waits))


def main(settings: Settings) -> None:
    """Measures, and prints and writes the table."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            write_shard(Path(folder) / f"random-{count:03d}.npz", settings, count) for count in range(settings.shards)
        ]
        start = time.monotonic()
        first = read_shard(paths[0])
        reading = time.monotonic() - start
        rows = [measured("one shard, not replaced", first, settings)]
        del first
        dataset = ShardedDataset(paths, read_shard, reward_range=(-1.0, 0.0))
        rows.append(measured("replaced shards", dataset, settings))
    cells = [[number(value) if isinstance(value, float) else value for value in vars(row).values()] for row in rows]
    print_table(f"FQL, a new shard every {settings.interval:,} updates", list(vars(rows[0])), cells)
    print(f"{dataset}")
    print(
        f"reading a shard: {reading:.2f} s; updates on a shard: {settings.interval * rows[0].seconds_per_update:.2f} s"
    )
    print(f"table: {write_rows(rows, settings.out / 'shards.csv')}")


if __name__ == "__main__":
    main(tyro.cli(Settings, config=(tyro.conf.FlagConversionOff,), use_underscores=True))
