"""What a run does beside its updates: sampling, metrics, logs, checkpoints and evaluation, at the default intervals."""

import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.deadline import Deadline
from benchmarks.measured_update import CUBE, REWARDS, random_dataset
from floqzoo.learner import ScannedUpdate, agent_of, build_agents, update_keys
from floqzoo.learner.metric_mean import MetricMean, require_finite
from floqzoo.rollout import evaluate
from floqzoo.runs import MetricLog, save_checkpoint
from floqzoo.runs.configuration import RunConfig
from floqzoo.tasks.simulator import make
from floqzoo.training.phases import updates_in_a_call
from recipes.floq import FloqConfig, floq


@dataclass(frozen=True)
class ShareRow:
    """One part of a run at the default intervals, beside the updates."""

    part: str
    seconds_each: float
    every_updates: int
    share: float


def share_rows(
    deadline: Deadline,
    config: FloqConfig,
    environment: str,
    transitions: int,
    update_seconds: float,
    repeats: int = 5,
    played: int = 8,
) -> Iterator[ShareRow]:
    """What a run of floq, one seed, does beside updates that take `update_seconds` each, as far as there is time.

    - `played`: The episodes that are played of an evaluation, and counted up; without OGBench there is none.
    """
    run = RunConfig(agent=config, env_name=environment)
    dataset = random_dataset(transitions)
    sizes = {"observation_dim": CUBE[0], "action_dim": CUBE[1]}
    agents = build_agents(lambda key: floq(**sizes, reward_range=REWARDS, config=config, key=key), [0])
    evaluates = importlib.util.find_spec("ogbench") and played
    parts: list[tuple[str, Callable[[], float], int]] = [
        ("sampling", lambda: sampling_seconds(dataset, config.batch_size, repeats), 1),
        ("logs", lambda: log_seconds(repeats), run.log_interval),
        ("checkpoints", lambda: checkpoint_seconds(agents, repeats), run.save_interval),
        ("metrics", lambda: metrics_seconds(agents, dataset, config.batch_size, repeats), updates_in_a_call(run)),
        *([("evaluation", lambda: evaluation_seconds(agents, run, played), run.eval_interval)] if evaluates else []),
    ]
    for part, measure, every in deadline.within(parts):
        seconds = measure()
        yield ShareRow(part, seconds, every, seconds / every / update_seconds)


def sampling_seconds(dataset: Any, batch_size: int, repeats: int, updates: int = 200) -> float:
    """Drawing one batch on the device, within a scan."""

    @jax.jit
    def draw(dataset, key):
        def one(total, key):
            return total + sum(jnp.sum(leaf) for leaf in jax.tree.leaves(dataset.sample(key, batch_size))), None

        return lax.scan(one, 0.0, jax.random.split(key, updates))[0]

    return median_seconds(lambda: draw(dataset, jax.random.key(0)).block_until_ready(), repeats) / updates


def metrics_seconds(agents: Any, dataset: Any, batch_size: int, repeats: int) -> float:
    """Fetching the metrics of a call, adding them up, and looking for NaN."""
    update = ScannedUpdate(agents, batch_size, 1)
    _, metrics = update(update.arrays(agents), dataset, update_keys([0]), 0)
    # An array that was fetched once is kept on the host.
    fresh = iter([jax.block_until_ready(jax.tree.map(jnp.copy, metrics)) for _ in range(repeats + 1)])
    mean = MetricMean()

    def take_in():
        metrics = next(fresh)
        mean.add(metrics, 1)
        require_finite(metrics, [0], 0, 1)

    return median_seconds(take_in, repeats)


def log_seconds(repeats: int) -> float:
    """A row of train.csv."""
    metrics, steps = {f"training/metric_{index}": float(index) for index in range(20)}, iter(range(1, 1000))
    with tempfile.TemporaryDirectory() as folder:
        log = MetricLog(Path(folder) / "train.csv")
        return median_seconds(lambda: log.write(next(steps), {0: metrics}), repeats)


def checkpoint_seconds(agents: Any, repeats: int) -> float:
    """Everything of an agent, on the disk."""
    steps = iter(range(1, 1000))
    with tempfile.TemporaryDirectory() as folder:
        return median_seconds(lambda: save_checkpoint(Path(folder), agents, next(steps)), repeats)


def evaluation_seconds(agents: Any, run: RunConfig, played: int) -> float:
    """An evaluation between the updates, of which a part of the episodes is played and counted up."""
    start = time.perf_counter()
    evaluate(agent_of(agents, 0), lambda: make(run.env_name), episodes=played, seed=0)
    return (time.perf_counter() - start) * run.eval_episodes / played


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
    """The median of some calls, after one to warm up."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[repeats // 2]
