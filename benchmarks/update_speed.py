"""How fast floq and FQL are updated, and what modularity costs.

    python benchmarks/update_speed.py --updates 10 --repeats 5

prints one row for each program: updates a second, compile seconds, GFLOP of matrix products in an update, the
rate that makes, and its share of the machine's own matrix rate, measured in the same run. Programs that are
compared run in turn, so that a drift of the machine's speed hits them alike; times are medians.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import tyro
from jax import lax
from rich.console import Console
from rich.table import Table

import floqzoo as fz
from floqzoo.training.scanned_update import ScannedUpdate
from floqzoo.training.seeds import update_keys


sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import hand_batched_floq as hand
from benchmarks.counted_flops import matrix_flops
from benchmarks.matrix_rate import matrix_rate
from benchmarks.measured_update import REWARDS, random_dataset
from recipes.floq import FloqConfig, floq
from recipes.fql import FQLConfig, fql


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    updates: int = 10
    """Updates in one compiled call."""
    repeats: int = 5
    """Calls timed for each program; the median counts."""
    depths: tuple[int, ...] = (2, 4)
    """Hidden layers of the flow critics."""
    observation_dim: int = 28
    """Size of an observation; 28 is cube-single's."""
    action_dim: int = 5
    """Size of an action."""
    transitions: int = 100_000
    """Transitions in the dataset."""


@dataclass
class Program:
    """Something that runs `updates` updates a call, in place on its own state."""

    name: str
    compiled: Callable[[], Any]
    compile_seconds: float
    flops_an_update: int
    seconds: list[float]


def modular_program(name: str, agent: fz.Agent, batch_size: int, settings: Settings, dataset) -> Program:
    """The scanned update that training uses."""
    agents = jax.tree.map(lambda leaf: leaf[None] if eqx.is_array(leaf) else leaf, agent)
    scanned = ScannedUpdate(agents, batch_size, settings.updates)
    key, keys, state = jax.random.key(2), update_keys([1]), scanned.arrays(agents)
    start = time.perf_counter()
    scanned.compile(state, dataset, keys, 0)
    seconds = time.perf_counter() - start

    def call():
        nonlocal state
        state, metrics = scanned(state, dataset, keys, 0)
        jax.block_until_ready((state, metrics))

    batch = dataset.sample(key, batch_size)
    flops = matrix_flops(lambda key: jax.tree.leaves(agent.update(batch, key)[1]), key)
    return Program(name, call, seconds, flops, [])


def hand_batched_program(name: str, agent: fz.Agent, config: FloqConfig, settings: Settings, dataset) -> Program:
    """The same arithmetic without modules."""
    sizes = hand.Sizes(
        config.noise_samples,
        config.critic_flow_steps,
        config.actor_flow_steps,
        config.discount,
        config.alpha,
        config.tau,
        tuple(config.noise_coverage * r / (1 - config.discount) for r in REWARDS),
        tuple((r + o) / (1 - config.discount) for r, o in zip(REWARDS, (-0.01, 0.01), strict=True)),
        config.num_bins,
        config.sigma,
    )

    def one(state, key):
        batch_key, update_key = jax.random.split(key)
        batch = dataset_argument.sample(batch_key, config.batch_size)
        return hand.update(state, batch, update_key, sizes, agent.optimiser), None

    def scan(state, dataset, key):
        nonlocal dataset_argument
        dataset_argument = dataset
        return lax.scan(one, state, jax.random.split(key, settings.updates))[0]

    dataset_argument = dataset
    key, state = jax.random.key(1), hand.state_of(agent)
    start = time.perf_counter()
    compiled = jax.jit(scan, donate_argnums=0).lower(state, dataset, key).compile()
    seconds = time.perf_counter() - start
    batch = dataset.sample(key, config.batch_size)
    flops = matrix_flops(lambda key: hand.update(state, batch, key, sizes, agent.optimiser), key)

    def call():
        nonlocal state
        state = jax.block_until_ready(compiled(state, dataset, key))

    return Program(name, call, seconds, flops, [])


def programs(settings: Settings) -> list[Program]:
    """floq, modular and by hand, at each depth; and FQL."""
    dataset = random_dataset(settings.transitions, (settings.observation_dim, settings.action_dim))
    shape = {"observation_dim": settings.observation_dim, "action_dim": settings.action_dim, "reward_range": REWARDS}
    result = []
    for depth in settings.depths:
        config = replace(FloqConfig(alpha=300.0), block_depth=depth)
        agent = floq(**shape, config=config, key=jax.random.key(0))
        result.append(modular_program(f"floq, depth {depth}", agent, config.batch_size, settings, dataset))
        result.append(hand_batched_program(f"floq, depth {depth}, by hand", agent, config, settings, dataset))
    agent = fql(**shape, config=FQLConfig(alpha=300.0), key=jax.random.key(0))
    result.append(modular_program("FQL", agent, 256, settings, dataset))
    return result


def measure(settings: Settings) -> list[Program]:
    """Runs every program in turn, `repeats` times, after one call to warm up."""
    measured = programs(settings)
    for program in measured:
        program.compiled()
    for _ in range(settings.repeats):
        for program in measured:
            start = time.perf_counter()
            program.compiled()
            program.seconds.append((time.perf_counter() - start) / settings.updates)
    return measured


def main(settings: Settings) -> None:
    """Measures and prints the table."""
    rate = matrix_rate()
    device = jax.devices()[0]
    table = Table(title=f"{device.device_kind}, jax {jax.__version__}, {rate / 1e9:.0f} GFLOP/s in a plain product")
    for column in ("program", "updates/s", "ms an update", "compile s", "GFLOP an update", "GFLOP/s", "share of rate"):
        table.add_column(column, justify="left" if column == "program" else "right")
    for program in measure(settings):
        seconds = statistics.median(program.seconds)
        achieved = program.flops_an_update / seconds
        table.add_row(
            program.name,
            f"{1 / seconds:.2f}",
            f"{1e3 * seconds:.0f}",
            f"{program.compile_seconds:.1f}",
            f"{program.flops_an_update / 1e9:.1f}",
            f"{achieved / 1e9:.0f}",
            f"{100 * achieved / rate:.0f} %",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
