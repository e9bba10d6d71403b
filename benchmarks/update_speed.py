"""How fast floq and FQL are updated, and what modularity costs.

    python benchmarks/update_speed.py --updates 10 --repeats 5

prints one row for each program: updates a second, processor time, which a busy machine does not lengthen as it does the
other, compile seconds, GFLOP of matrix products in an update, the rate that makes, and its share of the machine's own
matrix rate, measured in the same run. Programs that are compared run in turn, so that a drift of the machine's speed hits
them alike; times are medians. `--styles` adds floq as plain programs usually compute it.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import lax
from rich.console import Console
from rich.table import Table


sys.path.insert(0, str(Path(__file__).parents[1]))
import floqzoo as fz
from benchmarks import hand_batched_floq as hand, plain_floq as plain
from benchmarks.counted_flops import matrix_flops
from benchmarks.matrix_rate import matrix_rate
from benchmarks.measured_update import REWARDS, random_dataset
from floqzoo.learner.scanned_update import ScannedUpdate, compiler_options
from floqzoo.learner.seeds import update_keys
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
    styles: bool = False
    """Whether floq is also computed as plain programs usually do, with one habit after another left off; FQL is not."""


@dataclass
class Program:
    """Something that runs `updates` updates a call, in place on its own state."""

    name: str
    compiled: Callable[[], Any]
    compile_seconds: float
    flops_an_update: int
    seconds: list[float]
    processor_seconds: list[float] = field(default_factory=list)


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


def sizes_of(config: FloqConfig) -> hand.Sizes:
    """The numbers of a configuration, for the programs without modules."""
    return hand.Sizes(
        config.noise_samples,
        config.critic_flow_steps,
        config.flow_steps,
        config.discount,
        config.alpha,
        config.tau,
        tuple(config.noise_coverage * r / (1 - config.discount) for r in REWARDS),
        tuple((r + o) / (1 - config.discount) for r, o in zip(REWARDS, (-0.01, 0.01), strict=True)),
        config.num_bins,
        config.sigma,
    )


def hand_batched_program(name: str, agent: fz.Agent, config: FloqConfig, settings: Settings, dataset) -> Program:
    """The same arithmetic without modules."""
    sizes = sizes_of(config)

    def one(state, key):
        batch_key, update_key = jax.random.split(key)
        batch = dataset_argument.sample(batch_key, config.batch_size)
        return hand.update(state, batch, update_key, sizes, agent.update_rule.optimiser), None

    def scan(state, dataset, key):
        nonlocal dataset_argument
        dataset_argument = dataset
        return lax.scan(one, state, jax.random.split(key, settings.updates))[0]

    dataset_argument = dataset
    key, state = jax.random.key(1), hand.state_of(agent)
    start = time.perf_counter()
    jitted = jax.jit(scan, donate_argnums=0, compiler_options=compiler_options())
    compiled = jitted.lower(state, dataset, key).compile()
    seconds = time.perf_counter() - start
    batch = dataset.sample(key, config.batch_size)
    flops = matrix_flops(lambda key: hand.update(state, batch, key, sizes, agent.update_rule.optimiser), key)

    def call():
        nonlocal state
        state = jax.block_until_ready(compiled(state, dataset, key))

    return Program(name, call, seconds, flops, [])


STYLES = {
    "in the usual style": plain.Style(),
    "... first layer read once": plain.Style(repeated_reading=False),
    "... scanned integrations": plain.Style(written_out=False),
    "... layer norm in one pass": plain.Style(two_pass_norm=False),
    "... target outside the optimiser": plain.Style(optimised_target=False),
    "... data on the device, updates scanned": plain.Style(python_loop=False),
    "... the compiler's options": plain.Style(compiler_as_it_is=False),
    "... all but the compiler's options": plain.Style(False, False, False, False, False),
    "... all of these": plain.Style(False, False, False, False, False, False),
}


def plain_program(
    name: str, agent: fz.Agent, config: FloqConfig, settings: Settings, dataset, style: plain.Style
) -> Program:
    """The same losses in another style."""
    sizes, optimiser = sizes_of(config), agent.update_rule.optimiser
    key, state = jax.random.key(1), plain.state_of(agent, style)

    def update(state, batch, key):
        return plain.update(state, batch, key, sizes, optimiser, style)

    def scan(state, dataset, key):
        def one(state, key):
            batch_key, update_key = jax.random.split(key)
            return update(state, dataset.sample(batch_key, config.batch_size), update_key)

        return lax.scan(one, state, jax.random.split(key, settings.updates))

    batch = dataset.sample(key, config.batch_size)
    flops = matrix_flops(lambda key: update(state, batch, key), key)
    options = None if style.compiler_as_it_is else compiler_options()
    start = time.perf_counter()
    if style.python_loop:
        compiled = jax.jit(update, compiler_options=options).lower(state, batch, key).compile()
    else:
        compiled = jax.jit(scan, donate_argnums=0, compiler_options=options).lower(state, dataset, key).compile()
    seconds = time.perf_counter() - start
    host, random = jax.tree.map(np.asarray, dataset.transitions(jnp.arange(dataset.size))), np.random.default_rng(0)

    def call():
        nonlocal state, key
        if not style.python_loop:
            state, _ = jax.block_until_ready(compiled(state, dataset, key))
            return
        for _ in range(settings.updates):
            key, update_key = jax.random.split(key)
            rows = random.integers(dataset.size, size=config.batch_size)
            drawn = jax.tree.map(lambda leaf, rows=rows: jnp.asarray(leaf[rows]), host)
            state, _ = compiled(state, drawn, update_key)
        jax.block_until_ready(state)

    return Program(name, call, seconds, flops, [])


def programs(settings: Settings) -> list[Program]:
    """floq, modular and by hand, at each depth, and in the usual style where that is asked for; and FQL."""
    dataset = random_dataset(settings.transitions, (settings.observation_dim, settings.action_dim))
    shape = {"observation_dim": settings.observation_dim, "action_dim": settings.action_dim, "reward_range": REWARDS}
    result = []
    for depth in settings.depths:
        config = replace(FloqConfig(alpha=300.0), block_depth=depth)
        agent = floq(**shape, config=config, key=jax.random.key(0))
        result.append(modular_program(f"floq, depth {depth}", agent, config.batch_size, settings, dataset))
        result.append(hand_batched_program(f"floq, depth {depth}, by hand", agent, config, settings, dataset))
        for name, style in STYLES.items() if settings.styles else ():
            result.append(plain_program(f"floq, depth {depth}, {name}", agent, config, settings, dataset, style))
    if settings.styles:
        return result
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
            start, processor_start = time.perf_counter(), time.process_time()
            program.compiled()
            program.seconds.append((time.perf_counter() - start) / settings.updates)
            program.processor_seconds.append((time.process_time() - processor_start) / settings.updates)
    return measured


def main(settings: Settings) -> None:
    """Measures and prints the table."""
    rate = matrix_rate()
    device = jax.devices()[0]
    table = Table(title=f"{device.device_kind}, jax {jax.__version__}, {rate / 1e9:.0f} GFLOP/s in a plain product")
    columns = ("program", "updates/s", "ms an update", "processor ms", "compile s", "GFLOP an update", "GFLOP/s")
    for column in (*columns, "share of rate"):
        table.add_column(column, justify="left" if column == "program" else "right")
    for program in measure(settings):
        seconds = statistics.median(program.seconds)
        achieved = program.flops_an_update / seconds
        table.add_row(
            program.name,
            f"{1 / seconds:.2f}",
            f"{1e3 * seconds:.0f}",
            f"{1e3 * statistics.median(program.processor_seconds):.0f}",
            f"{program.compile_seconds:.1f}",
            f"{program.flops_an_update / 1e9:.1f}",
            f"{achieved / 1e9:.0f}",
            f"{100 * achieved / rate:.0f} %",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
