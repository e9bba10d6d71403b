"""Compares the futures and values that a successor measure predicts with those observed in episodes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from floqzoo.agent import Agent
from floqzoo.figures import BLUE, VERMILION, WIDTH, legend_below, new_figure, save_figure, styled
from floqzoo.learner.seeds import SeedUse, seed_key
from floqzoo.runs.configuration import RunConfig
from floqzoo.studies.future_model import FutureModel
from floqzoo.studies.report import mean_of, number, print_table, write_rows
from floqzoo.studies.rollouts import Rollout, played_rollouts, recorded_rollouts
from floqzoo.tasks.load import OGBenchTask, environment_maker
from floqzoo.tasks.sharded_dataset import excerpt_of


ROLLOUTS = 16
"""The number of episodes with which a measure is compared after its training."""

NUM_FUTURES = 256
"""The number of futures per initial state, for the distances and for the figure."""


@dataclass(frozen=True)
class ValueRow:
    """A value that the measure predicts, and the return of one episode from the same state and action."""

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


@dataclass(frozen=True)
class DistanceRow:
    """The distances of futures from their initial state, in the two coordinates of the figure, in units of the
    environment.

    - `sampled_median`, `sampled_tenth`: The distances that half and a tenth of the sampled futures exceed.
    - `episode_median`, `episode_tenth`: The same distances for futures that `Rollout.resampled` samples from the
      episode with this initial state.
    """

    episode: int
    sampled_median: float
    sampled_tenth: float
    episode_median: float
    episode_tenth: float


@dataclass(frozen=True)
class FutureReport:
    """Predicted futures and values, and those observed in episodes.

    - `title`: The title of the figure.
    - `values`: The predicted values and the returns for two rewards: the critic's reward model, if there is a trained
      one, and the first coordinate of the observation.
    - `distances`: The distances of futures from each initial state.
    - `points`: The points of the figure, for up to four initial states.
    """

    title: str
    values: list[ValueRow]
    distances: list[DistanceRow]
    points: list[FuturePoint]

    def show(self) -> None:
        """Prints a table of the values and a table of the distances."""
        _show_values(self.values)
        names = ("sampled_median", "episode_median", "sampled_tenth", "episode_tenth")
        medians = [np.median([getattr(row, name) for row in self.distances]) for name in names]
        print_table(
            f"{len(self.distances)} initial states: distances of futures from them, medians over initial states",
            ["futures", "median distance", "90th percentile"],
            [
                ["sampled from the measure", number(medians[0]), number(medians[2])],
                ["in one episode", number(medians[1]), number(medians[3])],
            ],
        )

    def write(self, directory: Path) -> list[Path]:
        """Writes `values.csv`, `distances.csv`, `futures.csv` and `futures.png`; returns their paths."""
        return [
            write_rows(self.values, directory / "values.csv"),
            write_rows(self.distances, directory / "distances.csv"),
            write_rows(self.points, directory / "futures.csv"),
            draw_futures(self.points, directory / "futures.png", title=self.title),
        ]


def report_futures(agent: Agent, task: Any, config: RunConfig, directory: Path) -> FutureReport:
    """Compares the measure of a newly trained agent with `ROLLOUTS` episodes.

    Tables are printed, and files are written to `directory`.

    **Raises** the errors of `rollouts_of`.
    """
    model = FutureModel.of(agent, np.asarray(excerpt_of(task.dataset).observations))
    rollouts = rollouts_of(model, agent.parts, task, ROLLOUTS, config.seed)
    key = seed_key(config.seed, SeedUse.FUTURES)
    report = future_report(model, rollouts, key, coordinates=plane_of(task), count=config.agent.count)
    report.show()
    for file in report.write(directory):
        print(file)
    return report


def rollouts_of(model: FutureModel, actor: Any, task: Any, count: int, seed: int) -> list[Rollout]:
    """Returns episodes of the policy that the successor measure of `model` describes.

    If the policy generated the data, these are the first episodes of the task's validation data, or of its training
    data if it has no validation data. If it is the agent's policy, episodes are played; on OGBench tasks, they do not
    terminate at the goal.

    - `actor`: An agent, or its `ActorCritic`.

    **Raises** `ValueError` if `count` is not positive, if the task has no environment to play in, or if an episode is
    too short to contain futures.
    """
    if model.kind.of_data:
        validation = getattr(task, "validation", None)
        recorded = excerpt_of(task.dataset if validation is None else validation)
        return recorded_rollouts(recorded, count, from_current=model.kind.from_current)
    if task.make_environment is None:
        raise ValueError(
            "`task` must have an environment, since the measure is that of the agent's policy, whose episodes are played; "
            "give the task an `environment`, or learn the measure of the data."
        )
    ogbench = isinstance(task, OGBenchTask)
    make = environment_maker(task.name, task.frame_stack, terminate_at_goal=False) if ogbench else task.make_environment
    environment = make()
    try:
        return played_rollouts(actor, environment, count, seed, from_current=model.kind.from_current)
    finally:
        environment.close()


def plane_of(task: Any) -> tuple[int, int]:
    """Returns the indices of the two observation coordinates that the figure shows.

    On OGBench tasks, these are the coordinates of the horizontal position. On your own task, they are the first two
    coordinates, or the first coordinate twice if there is only one.
    """
    return task.name.plane if isinstance(task, OGBenchTask) else (0, min(1, task.observation_dim - 1))


def future_report(
    model: FutureModel,
    rollouts: Sequence[Rollout],
    key: jax.Array,
    *,
    title: str = "",
    coordinates: tuple[int, int] = (0, 1),
    count: int = 128,
) -> FutureReport:
    """Compares predicted futures and values with those observed in episodes.

    - `title`: The title of the figure.
    - `coordinates`: The indices of the two observation coordinates for the figure and the distances, such as
      `TaskName.plane`.
    - `count`: The number of sampled futures for each value, at least 2.
    """
    value_key, figure_key = jax.random.split(key)
    values = values_of(model, rollouts, value_key, count=count)
    keys, random = jax.random.split(figure_key, len(rollouts)), np.random.default_rng(0)
    futures = [
        (
            rollout.resampled(model.discount, NUM_FUTURES, random),
            model.sample(rollout.observation, rollout.action, NUM_FUTURES, own_key),
        )
        for rollout, own_key in zip(rollouts, keys, strict=True)
    ]
    initial = [rollout.observation for rollout in rollouts]
    return FutureReport(
        title,
        values,
        _distances(initial, futures, coordinates),
        future_points(initial[:4], futures[:4], model.states, coordinates),
    )


def values_of(model: FutureModel, rollouts: Sequence[Rollout], key: jax.Array, *, count: int) -> list[ValueRow]:
    """Computes the predicted value and the return from each initial state and action, for two rewards.

    The rewards are the critic's reward model, if there is a trained one, and the first coordinate of the observation.
    """
    rewards = {"the first coordinate": (lambda x: x[0], lambda rollout: rollout.futures[:, 0])}
    if model.reward is not None:
        rewards = {"the task's reward": (model.reward, lambda rollout: rollout.rewards), **rewards}
    rows = []
    for (name, (reward, rewards_of)), reward_key in zip(
        rewards.items(), jax.random.split(key, len(rewards)), strict=True
    ):
        of_futures = jax.jit(jax.vmap(reward))
        for episode, (rollout, own_key) in enumerate(
            zip(rollouts, jax.random.split(reward_key, len(rollouts)), strict=True)
        ):
            futures = model.sample(rollout.observation, rollout.action, count, own_key)
            returns = np.asarray(of_futures(futures)) / (1 - model.discount)
            error = returns.std(ddof=1) / count**0.5
            true = replace(rollout, rewards=rewards_of(rollout)).discounted_return(model.discount)
            rows.append(ValueRow(name, episode, float(returns.mean()), float(error), true))
    return rows


def future_points(
    initial: Sequence[Float[np.ndarray, " observation"]],
    futures: Sequence[tuple[Float[np.ndarray, "futures observation"], Float[np.ndarray, "futures observation"]]],
    visited: Float[np.ndarray, "states observation"],
    coordinates: tuple[int, int] = (0, 1),
) -> list[FuturePoint]:
    """Returns the points of a figure, with a panel for each initial state.

    - `futures`: For each initial state, the futures in one episode and those sampled from the measure.
    - `visited`: States of the data, which show the maze or the workspace.
    """
    data, in_episode, sampled, start = KINDS
    chosen = np.random.default_rng(0).choice(len(visited), min(2000, len(visited)), replace=False)
    found = [(0, data, visited[chosen])]
    for panel, (observation, (true, drawn)) in enumerate(zip(initial, futures, strict=True), 1):
        found += [(panel, in_episode, true), (panel, sampled, drawn), (panel, start, observation[None])]
    return [
        FuturePoint(panel, kind, round(float(x), 3), round(float(y), 3))
        for panel, kind, states in found
        for x, y in states[:, coordinates]
    ]


@styled
def draw_futures(points: Sequence[FuturePoint], path: Path, *, title: str = "") -> Path:
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
    if title:
        figure.suptitle(fill(title, int(9.5 * WIDTH)))
    return save_figure(figure, path)


def _distances(initial: Sequence[Any], futures: Sequence[Any], coordinates: tuple[int, int]) -> list[DistanceRow]:
    rows = []
    for episode, (observation, (true, drawn)) in enumerate(zip(initial, futures, strict=True)):
        away = [np.linalg.norm((states - observation)[:, coordinates], axis=1) for states in (drawn, true)]
        rows.append(DistanceRow(episode, *(float(q) for far in away for q in np.quantile(far, (0.5, 0.9)))))
    return rows


def _show_values(rows: Sequence[ValueRow]) -> None:
    lines = []
    for name in dict.fromkeys(row.reward for row in rows):
        mine = [row for row in rows if row.reward == name]
        values, returns = (np.array([getattr(row, part) for row in mine]) for part in ("value", "episode_return"))
        correlation = np.corrcoef(values, returns)[0, 1] if values.std() and returns.std() else float("nan")
        root = np.sqrt(np.mean((values - returns) ** 2))
        lines.append([name, str(mean_of(values)), str(mean_of(returns)), number(root), number(correlation)])
    columns = ["reward", "values", "returns of one episode each", "root mean square difference", "correlation"]
    print_table(
        f"{len({row.episode for row in rows})} initial states: values from the measure, and Monte Carlo returns",
        columns,
        lines,
    )
