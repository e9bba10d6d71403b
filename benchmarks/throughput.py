"""The throughput of training: what an update costs, what the rest of a run costs, and how the cost grows.

    python benchmarks/throughput.py --out throughput

prints tables and writes them to `throughput/`: updates a second of each recipe, depth, precision and number of seeds; the
share of a run that sampling, metrics, logs, checkpoints and evaluation take at the default intervals; the memory of large
tasks; and the growth of the cost of a small floq with one size after another. They are to be read: nothing is asserted. On a
GPU the same command, with `--seeds 1 8 --updates 100`, ends within five minutes: what there is no time for is left out, and
counted.
"""

import itertools
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import tyro


sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.deadline import Deadline
from benchmarks.matrix_rate import matrix_rate
from benchmarks.measured_update import UpdateCost, random_dataset, update_cost
from benchmarks.peak_memory import memory_rows
from benchmarks.run_shares import share_rows
from floqzoo.studies.report import number, print_table, write_rows
from recipes.floq import FloqConfig, floq
from recipes.fql import FQLConfig, fql


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    out: Path = Path("throughput")
    """Where the tables go."""
    updates: int = 4
    """Updates in one compiled call."""
    repeats: int = 3
    """Calls timed for each program; the median counts."""
    tables: tuple[Literal["speed", "shares", "memory", "growth"], ...] = ("speed", "shares", "memory", "growth")
    """Which tables."""
    seconds: float | None = None
    """Rows that would end later are left out; without it there are 270 seconds on an accelerator, and no limit on a CPU."""
    depths: tuple[int, ...] = (4, 2)
    """Hidden layers of the flow critics."""
    precisions: tuple[str, ...] = ("bfloat16", "float32")
    """Precisions of the products."""
    seeds: tuple[int, ...] = (1, 4)
    """Seeds that are trained at once."""
    transitions: int = 100_000
    """Transitions in the dataset."""
    environment: str = "cube-single-singletask-task1-v0"
    """Whose episodes the evaluation plays."""


@dataclass(frozen=True)
class SpeedRow:
    """One program."""

    recipe: str
    depth: int
    precision: str
    seeds: int
    updates_per_second: float
    seed_updates_per_second: float
    compile_seconds: float
    peak_mb: float
    kernels_per_update: float
    gflop_per_update: float
    gflops: float
    share_of_matrix_rate: float


@dataclass(frozen=True)
class GrowthRow:
    """The cost of a small floq at one value of one size, all others as they are."""

    size: str
    value: int
    ms_per_update: float
    relative: float
    peak_mb: float


SMALL = FloqConfig(
    alpha=300.0,
    batch_size=128,
    actor_hidden_dims=(32, 32),
    value_hidden_dims=(32, 32),
    flow_steps=2,
    noise_samples=4,
    critic_flow_steps=4,
    block_width=128,
    block_depth=2,
)
"""What grows in it is most of its cost."""
SHARES_SECONDS = 60.0
"""What is left of a limited time for the shares of a run."""


def speeds(settings: Settings, deadline: Deadline, rates: Mapping[str, float]) -> Iterator[SpeedRow]:
    """Every recipe, depth, precision and number of seeds; the first depth first, and FQL before the others.

    - `rates`: FLOP/s of a plain product in each precision.
    """
    dataset = random_dataset(settings.transitions)
    flows = [("floq", floq, replace(FloqConfig(alpha=300.0), block_depth=depth), depth) for depth in settings.depths]
    recipes = [flows[0], ("fql", fql, FQLConfig(alpha=300.0), 4), *flows[1:]]
    cases = itertools.product(recipes, settings.precisions, settings.seeds)
    reserve = SHARES_SECONDS if "shares" in settings.tables else 0.0
    for (name, build, config, depth), precision, seeds in deadline.within(cases, reserve):
        cost = update_cost(
            build,
            config,
            dataset,
            seeds=seeds,
            precision=precision,
            updates=settings.updates,
            repeats=settings.repeats,
        )
        yield speed_row(name, depth, precision, cost, rates[precision])


def speed_row(name: str, depth: int, precision: str, cost: UpdateCost, rate: float) -> SpeedRow:
    """A cost as a row."""
    achieved = cost.flops / cost.seconds
    return SpeedRow(
        name,
        depth,
        precision,
        cost.seeds,
        1 / cost.seconds,
        cost.seed_updates_per_second,
        cost.compile_seconds,
        cost.peak_bytes / 1e6,
        cost.kernels,
        cost.flops / 1e9,
        achieved / 1e9,
        achieved / rate,
    )


def growth(settings: Settings, deadline: Deadline) -> Iterator[GrowthRow]:
    """One size after another."""
    sizes: dict[str, tuple[tuple[int, ...], Callable[[int], FloqConfig]]] = {
        "batch": ((32, 64, 128, 256, 512), lambda value: replace(SMALL, batch_size=value)),
        "noise samples": ((1, 2, 4, 8, 16), lambda value: replace(SMALL, noise_samples=value)),
        "solver steps K": ((1, 2, 4, 8, 16), lambda value: replace(SMALL, critic_flow_steps=value)),
        "width": ((64, 128, 256, 512), lambda value: replace(SMALL, block_width=value)),
        "depth": ((1, 2, 4, 8), lambda value: replace(SMALL, block_depth=value)),
        "observation": ((8, 28, 128, 512), lambda value: SMALL),
        "transitions": ((10_000, 100_000, 1_000_000, 10_000_000), lambda value: SMALL),
    }
    for size, (values, config) in sizes.items():
        first = None
        for value in deadline.within(values):
            observation = value if size == "observation" else 4 if size == "transitions" else 28
            dataset = random_dataset(value if size == "transitions" else 10_000, (observation, 5))
            updates = 10 * settings.updates
            cost = update_cost(floq, config(value), dataset, updates=updates, repeats=settings.repeats)
            first = first or cost.seconds
            yield GrowthRow(size, value, 1e3 * cost.seconds, cost.seconds / first, cost.peak_bytes / 1e6)


def show(title: str, rows: list[Any], path: Path) -> None:
    """Prints a table and writes it; one without rows is left out."""
    if not rows:
        return
    columns = list(vars(rows[0]))
    cells = [[number(v) if isinstance(v, float) else str(v) for v in vars(row).values()] for row in rows]
    print_table(title, columns, cells)
    print(f"table: {write_rows(rows, path)}")


def main(settings: Settings) -> None:
    """Measures and prints the tables."""
    device, cpu = jax.devices()[0], jax.default_backend() == "cpu"
    deadline = Deadline(settings.seconds or (None if cpu else 270.0))
    rates = {precision: matrix_rate(dtype=jnp.dtype(precision)) for precision in settings.precisions}
    print(f"{device.device_kind}, jax {jax.__version__}, Python {platform.python_version()}")
    speed = list(speeds(settings, deadline, rates)) if "speed" in settings.tables else []
    products = ", ".join(f"{precision} {rate / 1e9:.0f}" for precision, rate in rates.items())
    show(f"Updates; GFLOP/s of a plain product: {products}", speed, settings.out / "speed.csv")
    single = [row for row in speed if (row.recipe, row.seeds, row.depth) == ("floq", 1, settings.depths[0])]
    if single and "shares" in settings.tables:
        config = replace(FloqConfig(alpha=300.0), block_depth=settings.depths[0])
        seconds = 1 / single[0].updates_per_second
        rows = list(share_rows(deadline, config, settings.environment, settings.transitions, seconds))
        title = f"Beside the updates of floq, depth {settings.depths[0]}, {single[0].precision}"
        show(title, rows, settings.out / "shares.csv")
    if "memory" in settings.tables:
        rows = list(memory_rows(deadline, seeds=(max(settings.seeds),), precisions=settings.precisions))
        show("Memory with a million transitions", rows, settings.out / "memory.csv")
    if "growth" in settings.tables:
        show("Growth of a small floq", list(growth(settings, deadline)), settings.out / "growth.csv")
    if deadline.left_out:
        print(f"{deadline.left_out} rows were left out: there was no time for them. --seconds gives more.")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
