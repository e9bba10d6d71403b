"""What one scanned update costs: its time, its compilation, its memory and its matrix products."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.compiled_kernels import kernels_of
from benchmarks.counted_flops import matrix_flops
from floqzoo.learner.scanned_update import ScannedUpdate
from floqzoo.learner.seeds import agent_of, build_agents, in_precision, update_keys
from floqzoo.tasks.dataset import Dataset


REWARDS = (-1.0, 0.0)
CUBE = (28, 5)
"""Sizes of observation and action of cube-single."""


@dataclass(frozen=True)
class UpdateCost:
    """The cost of one update of all seeds.

    - `seconds`: Median over the calls.
    - `compile_seconds`: Tracing and compilation.
    - `peak_bytes`: Arguments, results and temporaries of the compiled program, as XLA counts them.
    - `flops`: Of matrix products, for all seeds.
    - `kernels`: Of one update of all seeds, but for those that draw random bits; NaN where they cannot be counted.
    """

    seconds: float
    compile_seconds: float
    peak_bytes: int
    flops: int
    seeds: int
    kernels: float

    @property
    def seed_updates_per_second(self) -> float:
        """Updates a second, counted for each seed."""
        return self.seeds / self.seconds


def random_dataset(transitions: int, sizes: tuple[int, int] = CUBE) -> Dataset:
    """Gaussian observations, uniform actions, rewards of -1: what the data says does not change the speed."""
    keys = jax.random.split(jax.random.key(0), 2)
    states = transitions + 1
    return Dataset(
        observations=jax.random.normal(keys[0], (states, sizes[0])),
        actions=jax.random.uniform(keys[1], (states, sizes[1]), minval=-1.0, maxval=1.0),
        rewards=jnp.full(states, REWARDS[0]),
        masks=jnp.ones(states),
        starts=jnp.arange(transitions, dtype=jnp.int32),
        last=jnp.full(states, transitions, jnp.int32),
    )


def update_cost(
    build: Callable[..., Any],
    config: Any,
    dataset: Dataset,
    *,
    seeds: int = 1,
    precision: str = "float32",
    updates: int = 4,
    repeats: int = 3,
) -> UpdateCost:
    """Compiles the scanned update of a recipe's agents and times its calls, after one to warm up.

    - `build`, `config`: The recipe's, as `Recipe.build` takes them.
    - `updates`, `repeats`: Updates in a call, and calls.
    """
    sizes = {"observation_dim": dataset.observations.shape[1], "action_dim": dataset.actions.shape[1]}
    make = partial(build, **sizes, reward_range=REWARDS, config=config)
    numbers = range(seeds)
    agents = build_agents(in_precision(lambda key: make(key=key), precision), numbers)
    scanned = ScannedUpdate(agents, config.batch_size, updates)
    arrays, keys, data = scanned.arrays(agents), scanned.spread(update_keys(numbers)), scanned.everywhere(dataset)
    start = time.perf_counter()
    program = scanned.compile(arrays, data, keys, 0)
    compile_seconds = time.perf_counter() - start
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        arrays, metrics = scanned(arrays, data, keys, 0)
        jax.block_until_ready((arrays, metrics))
        seconds.append((time.perf_counter() - start) / updates)
    batch, agent = dataset.sample(jax.random.key(1), config.batch_size), agent_of(agents, 0)
    flops = matrix_flops(lambda key: jax.tree.leaves(agent.update(batch, key)[1]), jax.random.key(2))
    return UpdateCost(
        statistics.median(seconds[1:]),
        compile_seconds,
        peak_bytes(program),
        seeds * flops,
        seeds,
        kernels(program) / updates,
    )


def kernels(program: Any) -> float:
    """The kernels of one call of a compiled program."""
    try:
        return kernels_of(program.as_text()).without_random
    except ValueError:
        return math.nan


def peak_bytes(program: Any) -> int:
    """Arguments, results and temporaries of a compiled program; donated arguments count once."""
    memory = program.memory_analysis()
    together = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return together - memory.alias_size_in_bytes
