"""The environments in which online training collects transitions."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Key

from floqzoo.learner.seeds import update_keys
from floqzoo.rollout.environment_worker import EnvironmentWorker, RepeatableEnvironment
from floqzoo.rollout.episode_player import EpisodePlayer, StepOutcome, numpy_state_kept
from floqzoo.typing import Array


class FinishedEpisodes:
    """Accumulates the results of the episodes that have finished since the last row of the log.

    - `sums`: For each seed, the number of finished episodes, and the sums of their returns, lengths and successes.
    """

    def __init__(self, sums: Float[np.ndarray, "seeds 4"]):
        self.sums = sums

    @staticmethod
    def none(seeds: int) -> "FinishedEpisodes":
        """Returns an instance without any finished episodes."""
        return FinishedEpisodes(np.zeros((seeds, 4)))

    def add(self, place: int, *, episode_return: float, length: int, success: float) -> None:
        """Adds a finished episode of the seed at index `place`."""
        self.sums[place] += (1, episode_return, length, success)

    def take(self) -> list[dict[str, float]]:
        """Returns the metrics of each seed since the last call, and resets the sums.

        If a seed has no finished episode, its only metric is the number of episodes, 0.
        """
        sums, self.sums = self.sums, np.zeros_like(self.sums)
        return [_metrics(*(float(number) for number in row)) for row in sums]


def _metrics(episodes: float, episode_return: float, length: float, success: float) -> dict[str, float]:
    metrics = {"exploration/episodes": episodes}
    if episodes:
        metrics |= {
            "exploration/episode.return": episode_return / episodes,
            "exploration/episode.length": length / episodes,
        }
        if not math.isnan(success):
            metrics["exploration/success"] = success / episodes
    return metrics


FIRST_EPISODE = 2**30
"""The index of the first exploration episode; the indices of evaluation episodes start at 0."""


def first_episodes(keys: Key[Array, " seeds"], seeds: Sequence[int]) -> list[int]:
    """Returns the index of each seed's first exploration episode.

    The index is `FIRST_EPISODE` for offline-to-online runs and for runs from scratch. A run that is initialised from
    another run has different update keys, and therefore a different index and different episodes.

    - `keys`, `seeds`: The update keys and the seeds of the run.
    """
    data, original = (np.asarray(jax.random.key_data(each), np.int64) for each in (keys, update_keys(seeds)))
    other = (data != original).any(axis=1)
    return (FIRST_EPISODE + other * (1 + data[:, -1] % (FIRST_EPISODE // 2))).tolist()


@dataclass(frozen=True)
class Round:
    """The transitions of one step in every environment, as NumPy arrays.

    - `observation`, `action`, `reward`, `next_observation`: The transitions. At the end of an episode,
      `next_observation` is the last observation of that episode, not the first observation of the next one.
    - `discount`: 0 if the episode was terminated by this step, else 1 (also if it was truncated).
    - `over`: Whether the episode ended with this step.
    """

    observation: Float[np.ndarray, "seeds environments observation"]
    action: Float[np.ndarray, "seeds environments action"]
    reward: Float[np.ndarray, "seeds environments"]
    discount: Float[np.ndarray, "seeds environments"]
    next_observation: Float[np.ndarray, "seeds environments observation"]
    over: Bool[np.ndarray, "seeds environments"]


class Exploration:
    """The environments of all seeds, which advance in lockstep.

    If a seed has n environments, environment i (counted from 0) plays episodes f + i, f + i + n, f + i + 2n, ... of
    this seed, where f is given by `first`. Each episode has its own random numbers, so the transitions depend only on
    the seeds and the actions.

    - `make_environment`: A function without arguments that creates a Gymnasium environment that reports
      `info["success"]`.
    - `seeds`: The seeds of the run.
    - `environments`: The number n of environments per seed, at least 1.
    - `in_processes`: Whether each environment runs in its own process, which lets the environments step in parallel.
    - `first`: For each seed, the index f of its first episode; None for `FIRST_EPISODE`.

    **Raises** `ValueError` if `environments` is below 1, or if `in_processes` is set and `make_environment` cannot be
    pickled.
    """

    def __init__(
        self,
        make_environment: Callable[[], Any],
        seeds: Sequence[int],
        environments: int,
        *,
        in_processes: bool = False,
        first: Sequence[int] | None = None,
    ):
        if environments < 1:
            raise ValueError(f"`environments` must be at least 1; got {environments}.")
        self._seeds, self._environments = len(seeds), environments
        self._first = [FIRST_EPISODE] * len(seeds) if first is None else list(first)
        self._all: list[RepeatableEnvironment] = []
        self.finished = FinishedEpisodes.none(len(seeds))
        for seed in seeds:
            for _ in range(environments):
                player = EnvironmentWorker(make_environment) if in_processes else EpisodePlayer.of(make_environment)
                self._all.append(RepeatableEnvironment(player, seed))

    def begin(self) -> None:
        """Starts the first episode of every environment."""
        with numpy_state_kept():
            for index, environment in enumerate(self._all):
                place, number = divmod(index, self._environments)
                environment.begin(self._first[place] + number)
            for environment in self._all:
                environment.receive_start()

    @property
    def observations(self) -> Float[np.ndarray, "seeds environments observation"]:
        """The current observations of all environments."""
        return self._by_seed([environment.observation for environment in self._all])

    @property
    def steps(self) -> Int[np.ndarray, "seeds environments"]:
        """The number of steps that have been taken in the current episode of each environment."""
        return self._by_seed([len(environment.actions) for environment in self._all])

    def step(self, actions: Float[np.ndarray, "seeds environments action"]) -> Round:
        """Takes one step in each environment, and starts the next episode in environments whose episode has ended.

        **Raises** `ValueError` if an action is NaN or outside the action space, and any error that an environment
        raises.
        """
        before = self.observations
        with numpy_state_kept():
            for environment, action in zip(self._all, actions.reshape(len(self._all), -1), strict=True):
                environment.step(action)
            outcomes = [environment.receive_step() for environment in self._all]
            self._begin_next(outcomes)
        return Round(
            observation=before,
            action=actions,
            reward=self._by_seed([outcome.reward for outcome in outcomes]),
            discount=self._by_seed([float(not outcome.terminated) for outcome in outcomes]),
            next_observation=self._by_seed([outcome.observation for outcome in outcomes]),
            over=self._by_seed([outcome.over for outcome in outcomes]),
        )

    def environment(self, place: int, number: int) -> RepeatableEnvironment:
        """Returns the environment with index `number` of the seed at index `place`."""
        return self._all[place * self._environments + number]

    def state(self) -> dict[str, np.ndarray]:
        """Returns the state, which can be passed to `restore`.

        It contains the indices of the current episodes, their actions and observations, and the sums over finished
        episodes.
        """
        actions = [action for environment in self._all for action in environment.actions]
        width = self._all[0].player.action_space.shape[0]
        return {
            "episodes": np.array([environment.episode for environment in self._all]),
            "lengths": np.array([len(environment.actions) for environment in self._all]),
            "actions": np.array(actions).reshape(-1, width),
            "observations": self.observations,
            "finished": self.finished.sums.copy(),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores the state of every environment by replaying the actions of its current episode.

        The method warns if a resulting observation differs from the saved observation.

        **Raises** `ValueError` if `state` was saved with a different number of environments or seeds, or if an episode
        ends during its replay.
        """
        if state["episodes"].shape != (len(self._all),) or state["finished"].shape != self.finished.sums.shape:
            raise ValueError(
                f"the saved state must be of {len(self._all)} environments, {self._environments} for each of {self._seeds} "
                f"seeds; it has {len(state['episodes'])} environments and {len(state['finished'])} seeds."
            )
        # A checkpoint cannot hold the empty array of actions when all episodes have just started.
        actions, ends = state.get("actions", np.zeros((0, 0))), np.cumsum(state["lengths"])[:-1]
        with numpy_state_kept():
            self._repeat(state["episodes"], np.split(actions, ends))
        self.finished = FinishedEpisodes(state["finished"].copy())
        if not np.array_equal(self.observations, state["observations"]):
            warnings.warn(
                "replaying the same actions led to different states, probably because the version of the simulator or the "
                "processor has changed. The resumed run will differ from an uninterrupted one.",
                stacklevel=2,
            )

    def close(self) -> None:
        """Closes all environments."""
        for environment in self._all:
            environment.close()

    def _repeat(self, episodes: np.ndarray, actions: Sequence[np.ndarray]) -> None:
        for environment, episode in zip(self._all, episodes, strict=True):
            environment.begin(int(episode))
        for environment in self._all:
            environment.receive_start()
        for step in range(max(map(len, actions))):
            stepping = [index for index, taken in enumerate(actions) if step < len(taken)]
            for index in stepping:
                self._all[index].step(actions[index][step])
            for index in stepping:
                if self._all[index].receive_step().over:
                    raise ValueError(
                        f"replaying the {len(actions[index])} saved actions of an unfinished episode ended it after "
                        f"{step + 1} steps; the environment has changed, or is not deterministic for a fixed seed."
                    )

    def _begin_next(self, outcomes: Sequence[StepOutcome]) -> None:
        over = [index for index, outcome in enumerate(outcomes) if outcome.over]
        for index in over:
            environment = self._all[index]
            self.finished.add(
                index // self._environments,
                episode_return=environment.episode_return,
                length=len(environment.actions),
                success=outcomes[index].success,
            )
            environment.begin(environment.episode + self._environments)
        for index in over:
            self._all[index].receive_start()

    def _by_seed(self, rows: Sequence[Any]) -> np.ndarray:
        array = np.array(rows)
        return array.reshape(self._seeds, self._environments, *array.shape[1:])
