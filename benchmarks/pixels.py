"""How many pixels a second updates take in, and what memory they need.

    python benchmarks/pixels.py --batch_size 256 --frame_stack 3 --out pixels

makes frames of random bytes, and measures for each recipe the updates per second, the pixels per second that they read
(observations and next observations, every frame of a stack counted), and what the compiled program needs on the device beside
the frames. The first row is the batch source alone: stacking by index, and random crops. With `--environment
visual-cube-single-singletask-task1-v0` it also renders a hundred steps.
"""

import dataclasses
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro


sys.path.insert(0, str(Path(__file__).parents[1]))

from floqzoo.learner import RandomCrop, ScannedUpdate, UniformBatches, build_agents, update_keys
from floqzoo.runs.recipe import agent_builder, find_recipe
from floqzoo.studies.report import number, print_table, write_rows
from floqzoo.tasks import PixelDataset, make_dataset
from floqzoo.tasks.datafile import FRAME
from floqzoo.tasks.simulator import make_pixels


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    recipes: tuple[str, ...] = ("bc", "fql", "iql", "floq")
    """The methods, with their default networks."""
    states: int = 10_000
    """Frames of the dataset."""
    frame_stack: int = 3
    """Frames in an observation."""
    batch_size: int = 256
    """Transitions in an update."""
    repeats: int = 5
    """Calls of which the fastest counts."""
    environment: str = ""
    """A visual environment to render; empty for none."""
    out: Path = Path("pixels")
    """Where the table goes."""


@dataclass(frozen=True)
class Row:
    """A measured program; pixels are those of observations and next observations, in millions a second."""

    program: str
    calls_per_second: float
    megapixels_per_second: float
    frames_mb: float
    program_mb: float


def random_frames(settings: Settings) -> PixelDataset:
    """Episodes of a thousand steps."""
    random, states = np.random.default_rng(0), settings.states
    frames = make_dataset(
        observations=random.integers(0, 256, (states, math.prod(FRAME)), np.uint8),
        actions=random.uniform(-1, 1, (states, 5)).astype(np.float32),
        rewards=-np.ones(states, np.float32),
        masks=np.ones(states, np.float32),
        terminals=(np.arange(states) % 1001 == 1000) | (np.arange(states) == states - 1),
    )
    return PixelDataset.of(frames, settings.frame_stack)


def row_of(name: str, program: Any, call: Any, dataset: PixelDataset, settings: Settings) -> Row:
    """Times the calls of a compiled program."""
    seconds = []
    for _ in range(settings.repeats + 1):  # the first one warms up
        start = time.monotonic()
        jax.block_until_ready(call())
        seconds.append(time.monotonic() - start)
    pixels = 2 * settings.batch_size * settings.frame_stack * math.prod(FRAME[:2])
    best, memory = min(seconds[1:]), program.memory_analysis()
    frames = dataset.frames.observations.nbytes
    return Row(
        name,
        1 / best,
        pixels / best / 1e6,
        frames / 1e6,
        (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 1e6,
    )


def batches(dataset: PixelDataset, settings: Settings) -> Row:
    """The batch source alone."""
    source, key = RandomCrop(UniformBatches(), 1.0), jax.random.key(0)
    draw = jax.jit(lambda dataset, key: source.draw_batch(dataset, None, jnp.asarray(0), key, settings.batch_size))
    program = draw.lower(dataset, key).compile()
    return row_of("batches alone", program, lambda: program(dataset, key), dataset, settings)


def updates(name: str, dataset: PixelDataset, settings: Settings) -> Row:
    """The updates of a recipe."""
    recipe = find_recipe(name)
    defaults = recipe.presets["default"]("cube-double-play-singletask-task1-v0").agent
    config = dataclasses.replace(defaults, encoder="impala_small", batch_size=settings.batch_size)
    sizes = {"observation_dim": dataset.observation_dim, "action_dim": dataset.action_dim}
    agents = build_agents(agent_builder(recipe, config, **sizes, reward_range=(-1.0, 0.0)), [0])
    update = ScannedUpdate(agents, settings.batch_size, 1, source=RandomCrop(UniformBatches()))
    keys, state = update.spread(update_keys([0])), [update.arrays(agents)]
    program = update.compile(state[0], dataset, keys, 0)

    def call() -> Any:
        state[0], metrics = update(state[0], dataset, keys, 0)
        return metrics.mean

    return row_of(name, program, call, dataset, settings)


def rendered(environment: str, frame_stack: int, steps: int = 100) -> float:
    """Steps per second of random actions."""
    player = make_pixels(environment, frame_stack)
    player.reset(seed=0)
    start = time.monotonic()
    for _ in range(steps):
        *_, terminated, truncated, _ = player.step(player.action_space.sample())
        if terminated or truncated:
            player.reset()
    seconds = time.monotonic() - start
    player.close()
    return steps / seconds


def main(settings: Settings) -> None:
    """Measures, and prints and writes the table."""
    if settings.environment:
        speed = rendered(settings.environment, settings.frame_stack)
        print(f"{settings.environment}: {speed:.1f} rendered steps per second")
    dataset = random_frames(settings)
    rows = [batches(dataset, settings), *(updates(name, dataset, settings) for name in settings.recipes)]
    cells = [[number(value) if isinstance(value, float) else value for value in vars(row).values()] for row in rows]
    title = f"batch {settings.batch_size}, {settings.frame_stack} frames, {jax.devices()[0].device_kind}"
    print_table(title, list(vars(rows[0])), cells)
    million = [1e6 * size / dataset.frames.observations.shape[0] / 1e9 for size in sizes_of(dataset)]
    print(
        "a million states: {:.1f} GB; as stacks and next stacks of bytes {:.1f} GB, of float32 {:.1f} GB".format(
            *million
        )
    )
    print(f"table: {write_rows(rows, settings.out / 'pixels.csv')}")


def sizes_of(dataset: PixelDataset) -> tuple[int, int, int]:
    """Bytes of the frames, of both stacks of every state, and of both in float32."""
    frames = dataset.frames.observations.nbytes
    return frames, 2 * dataset.frame_stack * frames, 8 * dataset.frame_stack * frames


if __name__ == "__main__":
    main(tyro.cli(Settings, config=(tyro.conf.FlagConversionOff,), use_underscores=True))
