"""Environments in which the agents of a run act while they learn."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from floqzoo.rollout.environment_worker import EnvironmentWorker, RepeatableEnvironment
from floqzoo.rollout.episode_player import EpisodePlayer, StepOutcome, numpy_state_kept


class FinishedEpisodes:
    """Sums over the episodes that were finished since the last row of the log.

    - `sums`: For each seed their number, and the sums of their returns, lengths and successes.
    """

    def __init__(self, sums: Float[np.ndarray, "seeds 4"]):
        self.sums = sums

    @staticmethod
    def none(seeds: int) -> "FinishedEpisodes":
        """Nothing is finished yet."""
        return FinishedEpisodes(np.zeros((seeds, 4)))

    def add(self, place: int, *, episode_return: float, length: int, success: float) -> None:
        """Adds an episode of the seed at a place on the axis."""
        self.sums[place] += (1, episode_return, length, success)

    def take(self) -> list[dict[str, float]]:
        """The metrics of each seed since the last call of this method; without an episode only that there was none."""
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
"""The number of the first episode of exploration: evaluations play others, from 0 on."""


@dataclass(frozen=True)
class Round:
    """One step of every environment, still on the host.

    - `observation`, `action`, `reward`, `next_observation`: Those of the steps. Where an episode is over, the last one is
      still its own.
    - `discount`: 0 where the episode terminated, else 1, as where it was truncated.
    - `over`: Whether the episode is over.
    """

    observation: Float[np.ndarray, "seeds environments observation"]
    action: Float[np.ndarray, "seeds environments action"]
    reward: Float[np.ndarray, "seeds environments"]
    discount: Float[np.ndarray, "seeds environments"]
    next_observation: Float[np.ndarray, "seeds environments observation"]
    over: Bool[np.ndarray, "seeds environments"]


class Exploration:
    """Environments of each seed that advance in lockstep, one step of each at a time.

    Environment number i of n plays the episodes i, i + n, i + 2n, ... of its seed, each with randomness of its own.
    So what happens depends on the actions alone.

    - `make_environment`: Makes a Gymnasium environment that reports `info["success"]`.
    - `seeds`: The seeds.
    - `environments`: How many environments each seed has.
    - `in_processes`: Whether each environment has a process of its own, so that all of them step at once.

    **Raises** `ValueError` if `environments` is not positive, or `make_environment` cannot be sent to a process.
    """

    def __init__(
        self,
        make_environment: Callable[[], Any],
        seeds: Sequence[int],
        environments: int,
        *,
        in_processes: bool = False,
    ):
        if environments < 1:
            raise ValueError(f"`environments` must be at least 1; got {environments}.")
        self._seeds, self._environments = len(seeds), environments
        self._all: list[RepeatableEnvironment] = []
        self.finished = FinishedEpisodes.none(len(seeds))
        for seed in seeds:
            for _ in range(environments):
                player = EnvironmentWorker(make_environment) if in_processes else EpisodePlayer(make_environment())
                self._all.append(RepeatableEnvironment(player, seed))

    def begin(self) -> None:
        """Begins the first episodes."""
        with numpy_state_kept():
            for index, environment in enumerate(self._all):
                environment.begin(FIRST_EPISODE + index % self._environments)
            for environment in self._all:
                environment.receive_start()

    @property
    def observations(self) -> Float[np.ndarray, "seeds environments observation"]:
        """What the environments show now."""
        return self._by_seed([environment.observation for environment in self._all])

    @property
    def steps(self) -> Int[np.ndarray, "seeds environments"]:
        """How many steps each of the current episodes has taken."""
        return self._by_seed([len(environment.actions) for environment in self._all])

    def step(self, actions: Float[np.ndarray, "seeds environments action"]) -> Round:
        """Takes one step in each environment, and begins the next episode where one is over.

        **Raises** `ValueError` if an action is NaN or outside the action space, and what the environments raise.
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
        """One of the environments of the seed at a place."""
        return self._all[place * self._environments + number]

    def state(self) -> dict[str, np.ndarray]:
        """All that `restore` needs: the episodes under way, their actions and where these led, and what is known of those
        that are over."""
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
        """Brings every environment to where it was when `state` was taken, by the same actions; warns if it comes elsewhere.

        **Raises** `ValueError` if it is the state of other environments.
        """
        if state["episodes"].shape != (len(self._all),) or state["finished"].shape != self.finished.sums.shape:
            raise ValueError(
                f"the state must be that of {self._environments} environments for each of {self._seeds} seeds; "
                f"it has {len(state['episodes'])} environments and {len(state['finished'])} seeds."
            )
        # A checkpoint holds no empty array, and there are no actions where all episodes have just begun.
        actions, ends = state.get("actions", np.zeros((0, 0))), np.cumsum(state["lengths"])[:-1]
        with numpy_state_kept():
            self._repeat(state["episodes"], np.split(actions, ends))
        self.finished = FinishedEpisodes(state["finished"].copy())
        if not np.array_equal(self.observations, state["observations"]):
            warnings.warn(
                "the environments are not where they were, though they took the same actions: another version of the "
                "simulator, or another processor. The run goes on, but not as what it would have been.",
                stacklevel=2,
            )

    def close(self) -> None:
        """Closes the environments."""
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
                        f"an episode must go on after {len(actions[index])} steps, as it did before; it is over after "
                        f"{step + 1}. This is another environment, or its seed does not decide it."
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
