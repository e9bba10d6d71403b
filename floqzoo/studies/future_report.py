"""Compares a successor measure on an OGBench task with Monte Carlo returns and futures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.agent import Agent
from floqzoo.figures import BLUE, VERMILION, WIDTH, legend_below, new_figure, save_figure, styled
from floqzoo.learner.seeds import SeedUse, seed_key
from floqzoo.networks.normaliser import Normaliser
from floqzoo.runs.configuration import RunConfig
from floqzoo.studies.report import mean_of, number, print_table, write_rows
from floqzoo.studies.rollouts import Rollout, played_rollouts, recorded_rollouts
from floqzoo.successor.reward_model import KnownReward
from floqzoo.successor.successor_critic import SuccessorCritic
from floqzoo.tasks.sharded_dataset import excerpt_of
from floqzoo.tasks.simulator import make


ROLLOUTS = 16
"""The number of episodes with which the measure is compared."""


@dataclass(frozen=True)
class ValueRow:
    """A value from the measure, and the return of one episode from the same state and action."""

    reward: str
    episode: int
    value: float
    standard_error: float
    episode_return: float


@dataclass(frozen=True)
class FuturePoint:
    """A point of the figure: its panel (0 for all panels), its kind (a key of `KINDS`), and its position."""

    panel: int
    kind: str
    x: float
    y: float


KINDS: dict[str, dict[str, Any]] = {
    "states of the data": {"s": 2, "color": "0.72"},
    "futures in one episode": {"s": 8, "color": VERMILION, "alpha": 0.6},
    "futures sampled from the measure": {"s": 5, "color": BLUE, "alpha": 0.6},
    "initial state": {"s": 110, "marker": "*", "color": "black"},
}
"""The kinds of points in the figure, with their styles."""


def report_futures(agent: Agent, task: Any, config: RunConfig, directory: Path) -> list[ValueRow]:
    """Compares an agent's values with Monte Carlo returns, and its sampled futures with those of episodes.

    It prints a table, writes `values.csv`, `futures.csv` and `futures.png`, and returns the rows of `values.csv`. The
    target network's measure is used. For the measure of the behaviour policy, episodes come from the validation data;
    for that of a cloned or trained policy, they are played in the environment without termination at the goal. Values
    are computed for two rewards: the learnt reward of the task, and the first coordinate of the observation.
    """
    critic = in_environment_units(agent.target.critic, agent.normaliser)
    if config.agent.measure_of == "behaviour":
        rollouts = recorded_rollouts(excerpt_of(task.validation), ROLLOUTS)
    else:
        environment = make(task.name.environment, terminate_at_goal=False)
        try:
            rollouts = played_rollouts(agent.parts, environment, ROLLOUTS, config.seed)
        finally:
            environment.close()
    value_key, figure_key = jax.random.split(seed_key(config.seed, SeedUse.FUTURES))
    rows = values_of(critic, rollouts, value_key)
    _show(rows)
    visited = np.asarray(excerpt_of(task.dataset).observations)
    points = future_points(critic, rollouts, visited, figure_key, coordinates=task.name.plane)
    print(f"values: {write_rows(rows, directory / 'values.csv')}")
    print(f"points of the figure: {write_rows(points, directory / 'futures.csv')}")
    print(f"futures: {draw_futures(points, directory / 'futures.png')}")
    return rows


def in_environment_units(critic: SuccessorCritic, normaliser: Normaliser | None) -> SuccessorCritic:
    """Converts an agent's critic to the units of the environment: the result takes and samples unnormalised
    observations."""
    if normaliser is None:
        return critic
    measure, reward = critic.measure, critic.reward
    whole = normaliser.followed_by(measure.normaliser)  # pyright: ignore[reportAttributeAccessIssue]
    return replace(
        critic,
        measure=eqx.tree_at(lambda measure: measure.normaliser, measure, whole),
        reward=KnownReward(lambda observation: reward.reward_of(normaliser.normalise(observation))),
    )


def values_of(critic: SuccessorCritic, rollouts: Sequence[Rollout], key: jax.Array) -> list[ValueRow]:
    """The value and the return from each initial state and action, for two rewards: that of the task, and the first
    coordinate of the observation."""
    discount = float(critic.measure.discount.value)
    first = SuccessorCritic(critic.measure, KnownReward(lambda x: x[0]), num_samples=critic.num_samples)
    task_key, first_key = jax.random.split(key)
    return [
        *_values_of("the task's reward", critic, rollouts, lambda rollout: rollout.rewards, discount, task_key),
        *_values_of(
            "the first coordinate", first, rollouts, lambda rollout: rollout.futures[:, 0], discount, first_key
        ),
    ]


def future_points(
    critic: SuccessorCritic,
    rollouts: Sequence[Rollout],
    visited: Float[np.ndarray, "states observation"],
    key: jax.Array,
    *,
    coordinates: tuple[int, int] = (0, 1),
    count: int = 256,
) -> list[FuturePoint]:
    """The points of the figure: up to four initial states with futures from the measure and from one episode each, and
    states of the data.

    - `visited`: States of the data, which show the maze or the workspace.
    - `coordinates`: The indices of the two observation coordinates to draw, such as `TaskName.plane`.
    - `count`: The number of futures of each kind for each initial state.
    """
    data, future, sampled, initial = KINDS
    discount, random = float(critic.measure.discount.value), np.random.default_rng(0)
    found = [(0, data, visited[random.choice(len(visited), min(2000, len(visited)), replace=False)])]
    for panel, (rollout, own_key) in enumerate(zip(rollouts[:4], jax.random.split(key, 4), strict=False), 1):
        found += [
            (panel, future, rollout.resampled(discount, count, random)),
            (panel, sampled, np.asarray(_futures(critic, rollout.observation, rollout.action, count, own_key))),
            (panel, initial, rollout.observation[None]),
        ]
    return [
        FuturePoint(panel, kind, round(float(x), 3), round(float(y), 3))
        for panel, kind, states in found
        for x, y in states[:, coordinates]
    ]


@styled
def draw_futures(points: Sequence[FuturePoint], path: Path) -> Path:
    """Draws the points, with a panel for each initial state."""
    figure = new_figure(WIDTH, 7.2)
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    for number_of_panel, axes in enumerate(panels.flat, 1):
        for kind, style in KINDS.items():
            x = [(point.x, point.y) for point in points if point.panel in (0, number_of_panel) and point.kind == kind]
            axes.scatter(*np.array(x).reshape(-1, 2).T, label=kind, linewidth=0, **style)
        axes.set(title=f"Initial state {number_of_panel}", aspect="equal")
        axes.grid(visible=False)
    for axes in panels[1]:
        axes.set_xlabel("x position")
    for axes in panels[:, 0]:
        axes.set_ylabel("y position")
    legend_below(figure, 2)
    return save_figure(figure, path)


def _values_of(
    name: str,
    critic: SuccessorCritic,
    rollouts: Sequence[Rollout],
    reward: Callable[[Rollout], np.ndarray],
    discount: float,
    key: jax.Array,
) -> list[ValueRow]:
    observations, actions = (jnp.stack([jnp.asarray(getattr(r, part)) for r in rollouts]) for part in _FIRST)
    estimates = _estimates(critic, observations, actions, jax.random.split(key, len(rollouts)))
    return [
        ValueRow(
            name,
            episode,
            float(estimates.mean[episode]),
            float(estimates.standard_error[episode]),
            float(np.sum(discount ** np.arange(len(rollout.futures)) * reward(rollout))),
        )
        for episode, rollout in enumerate(rollouts)
    ]


_FIRST = ("observation", "action")


@eqx.filter_jit
def _estimates(critic, observations, actions, keys):
    return jax.vmap(critic.estimate)(observations, actions, keys)


@eqx.filter_jit
def _futures(critic, observation, action, count, key):
    return critic.measure.sample_futures(jnp.asarray(observation), jnp.asarray(action), count, key)


def _show(rows: Sequence[ValueRow]) -> None:
    lines = []
    for name in dict.fromkeys(row.reward for row in rows):
        mine = [row for row in rows if row.reward == name]
        values, returns = (np.array([getattr(row, part) for row in mine]) for part in ("value", "episode_return"))
        correlation = np.corrcoef(values, returns)[0, 1] if values.std() and returns.std() else float("nan")
        root = np.sqrt(np.mean((values - returns) ** 2))
        lines.append([name, str(mean_of(values)), str(mean_of(returns)), number(root), number(correlation)])
    columns = ["reward", "values", "returns of one episode each", "root mean square difference", "correlation"]
    print_table(f"{len(rows) // 2} initial states: values from the measure, and Monte Carlo returns", columns, lines)
