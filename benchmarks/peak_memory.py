"""What the paper's floq needs in memory: the compiled update of several seeds on a million transitions, as XLA counts it.

Nothing is run, and no data are made. Seeds one after another are what a CPU does; all at once is what an accelerator
does, here as XLA's compiler for this device would lay it out.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import jax

from benchmarks.deadline import Deadline
from benchmarks.measured_update import REWARDS, peak_bytes, random_dataset
from floqzoo.learner import scanned_update
from floqzoo.learner.scanned_update import ScannedUpdate
from floqzoo.learner.seeds import build_agents, in_precision, update_keys
from recipes.floq import FloqConfig, floq
from recipes.published.floq import DEFAULT


TASKS = {
    "cube-quadruple": ((55, 5), FloqConfig(alpha=300.0)),
    "humanoidmaze-medium": ((69, 21), FloqConfig(**DEFAULT["humanoidmaze-medium"])),
    "humanoidmaze-large": ((69, 21), FloqConfig(**DEFAULT["humanoidmaze-large"])),
}
"""Sizes of observation and action, and floq's published settings; those of cube-quadruple are its default, depth 4."""


@dataclass(frozen=True)
class MemoryRow:
    """The memory of one program, in bytes of 1e6; a limit of 8 GiB is 8,590 of them."""

    task: str
    batch: int
    seeds: int
    precision: str
    at_once: bool
    dataset_mb: float
    state_mb: float
    temporary_mb: float
    peak_mb: float


def memory_rows(
    deadline: Deadline, *, seeds: tuple[int, ...], precisions: tuple[str, ...], transitions: int = 1_000_000
) -> Iterator[MemoryRow]:
    """Every task, number of seeds and precision; on a CPU, seeds both at once and one after another."""
    ways = (True, False) if jax.default_backend() == "cpu" else (True,)
    for task, count, precision, at_once in deadline.within(itertools.product(TASKS, seeds, precisions, ways)):
        yield memory_row(task, *TASKS[task], transitions, count, precision, at_once)


def memory_row(
    task: str,
    sizes: tuple[int, int],
    config: FloqConfig,
    transitions: int,
    seeds: int,
    precision: str,
    at_once: bool,
) -> MemoryRow:
    """Compiles one program."""
    dataset = jax.eval_shape(lambda: random_dataset(transitions, sizes))
    program, state = compiled(config, sizes, dataset, range(seeds), precision, at_once)
    return MemoryRow(
        task,
        config.batch_size,
        seeds,
        precision,
        at_once,
        size_of(dataset) / 1e6,
        state / 1e6,
        program.memory_analysis().temp_size_in_bytes / 1e6,
        peak_bytes(program) / 1e6,
    )


def compiled(
    config: FloqConfig, sizes: tuple[int, int], dataset: Any, seeds: range, precision: str, at_once: bool
) -> tuple[Any, int]:
    """The program, and the bytes of the agents' arrays."""
    build: Callable = partial(floq, observation_dim=sizes[0], action_dim=sizes[1], reward_range=REWARDS, config=config)
    agents = build_agents(in_precision(lambda key: build(key=key), precision), seeds)
    mapped = jax.vmap if at_once else scanned_update.over_seeds
    with patch.object(scanned_update, "over_seeds", mapped):
        update = ScannedUpdate(agents, config.batch_size, 2)
        arrays = update.arrays(agents)
        return update.compile(arrays, dataset, update_keys(seeds), 0), size_of(arrays)


def size_of(tree: Any) -> int:
    """The bytes of all arrays of a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
