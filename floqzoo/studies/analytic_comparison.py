"""Compares all successor methods on a task with a known solution."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from floqzoo.learner.seeds import agent_of
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.recipe import Recipe
from floqzoo.runs.run_directory import new_run_directory, record_flags, record_machine
from floqzoo.studies.members import train_members
from floqzoo.studies.report import number, print_table, write_rows
from floqzoo.studies.successor_errors import METRICS, Probe, SuccessorErrors, errors_of, errors_of_truth, probe
from floqzoo.studies.successor_training import REWARD
from floqzoo.successor.methods import METHODS
from floqzoo.successor.reward_model import KnownReward
from floqzoo.tasks.linear_gaussian import LinearGaussian
from floqzoo.tasks.ring import Ring
from floqzoo.training.progress import ProgressReport


@dataclass(frozen=True)
class AnalyticProblem:
    """An analytic task, a reward, and the exact Q-values under that reward.

    - `task`: A `LinearGaussian`, a `Ring`, or a task with the same methods.
    - `reward`: A function from an observation to its reward.
    - `value`: A function from an observation and an action to their exact Q-value under this reward.
    """

    task: Any
    reward: Callable[[Any], Any]
    value: Callable[[Any, Any], Any]


def chain_problem(discount: float) -> AnalyticProblem:
    """Returns the linear-Gaussian chain with a quadratic reward."""
    chain = LinearGaussian.spiral(discount)
    return AnalyticProblem(chain, REWARD, lambda observation, action: chain.value(observation, action, REWARD))


def ring_problem(discount: float) -> AnalyticProblem:
    """Returns the ring of cells, with a reward of 1 on its right half."""
    ring = Ring(discount=discount)
    pay = (ring.centres[:, 0] > 1e-6).astype(float)
    return AnalyticProblem(
        ring,
        lambda observation: pay[ring.cell_of(observation)],
        lambda observation, action: ring.value(observation, action, pay),
    )


ANALYTIC_TASKS: Mapping[str, Callable[[float], AnalyticProblem]] = MappingProxyType(
    {"linear-gaussian": chain_problem, "ring": ring_problem}
)
"""Functions that build the analytic tasks from a discount, by task name; `RunConfig.env_name` accepts these names."""


@dataclass(frozen=True)
class ComparisonRow:
    """The errors of one method, or of true samples for comparison; `SuccessorErrors` defines them."""

    method: str
    emd: float
    nll: float
    value_mse: float
    mmd: float


def compare_methods(recipe: Recipe, config: RunConfig) -> list[ComparisonRow]:
    """Trains every method on an analytic task, and compares its errors with those between two sets of true samples.

    The errors are printed, stored in a new run directory, and returned.

    - `recipe`: A recipe whose agent is trained by the method `config.agent.method`.
    - `config`: The settings. Each method is trained for `offline_steps` updates; the method `config.agent.method` is
      trained first.
    """
    problem = ANALYTIC_TASKS[config.env_name](config.agent.discount)
    checks = probe(
        problem.task,
        problem.reward,
        problem.value,
        states=16,
        samples=1024,
        compared=256,
        key=jax.random.key(10_000 + config.seed),
    )
    directory = new_run_directory(config.save_dir, config.run_group, recipe.name, config.seed)
    record_flags(directory, recipe.name, config)
    record_machine(directory)
    methods = [config.agent.method, *(name for name in METHODS if name != config.agent.method)]
    rows = [ComparisonRow("two sets of true samples", **vars(errors_of_truth(checks)))]
    with ProgressReport("training", "updates") as progress:
        for index, method in enumerate(methods):

            def show(done: int, index: int = index, method: str = method) -> None:
                progress.update(index * config.offline_steps + done, len(methods) * config.offline_steps, method)

            errors = _train_and_compare(recipe, config, method, problem, checks, show)
            rows.insert(-1, ComparisonRow(method, **vars(errors)))
    _show(rows, config)
    print(f"table: {write_rows(rows, directory / 'comparison.csv')}")
    return rows


def _train_and_compare(
    recipe: Recipe,
    config: RunConfig,
    method: str,
    problem: AnalyticProblem,
    checks: Probe,
    progress: Callable[[int], None],
) -> SuccessorErrors:
    task, key = problem.task, jax.random.key(config.seed)
    agent = recipe.build(
        observation_dim=task.observation_dim,
        action_dim=task.action_dim,
        reward_range=(0.0, 0.0),
        config=replace(config.agent, method=method),
        key=jax.random.fold_in(key, 0),
        policy=task.policy,
        reward=KnownReward(problem.reward),
    )
    agents, _ = train_members(
        _as_members(agent),
        _as_members(task),
        jax.random.fold_in(key, 1)[None],
        updates=config.offline_steps,
        batch_size=config.agent.batch_size,
        chunk=config.log_interval,
        progress=progress,
    )
    return errors_of(agent_of(agents, 0).target.critic.measure, checks, jax.random.fold_in(key, 2))


def _as_members(tree: Any) -> Any:
    """A single member for `train_members`: every array gets a first axis of size 1."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None] if eqx.is_array(leaf) else leaf, tree)


def _show(rows: list[ComparisonRow], config: RunConfig) -> None:
    lines = [[row.method, *(number(getattr(row, metric)) for metric in METRICS)] for row in rows]
    horizon = 1 / (1 - config.agent.discount)
    title = (
        f"{config.env_name}, effective horizon {horizon:.0f}, {config.offline_steps:,} updates each, seed {config.seed}"
    )
    print_table(title, ["method", *METRICS.values()], lines)
