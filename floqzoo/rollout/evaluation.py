"""Evaluates policies: measures returns, episode lengths and, if the environment reports it, success."""

import operator
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, SupportsIndex

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from floqzoo.rollout.batched_policy import BatchedPolicy
from floqzoo.rollout.environment_worker import EnvironmentWorker, RepeatableEnvironment, require_picklable
from floqzoo.rollout.episode_player import EpisodePlayer, numpy_state_kept


SUCCESS, RETURN = "success", "episode.return"
"""The main metric of an evaluation is `SUCCESS` if the environment reports success, and `RETURN` otherwise."""
NORMALISED = f"{RETURN}_normalised"
"""The metric for the normalised return, which is logged only for tasks that define reference returns."""


class Evaluation(eqx.Module):
    """The results of evaluating a policy, with one entry per episode.

    - `success`: 1 if the environment reported success in the last step of the episode, else 0, as in the code of
      OGBench and FQL; NaN if the task does not report success.
    - `episode_return`: The sum of the rewards.
    - `length`: The number of steps.
    """

    success: Float[np.ndarray, " episodes"]
    episode_return: Float[np.ndarray, " episodes"]
    length: Int[np.ndarray, " episodes"]

    @property
    def episodes(self) -> int:
        """The number of evaluated episodes."""
        return self.success.size

    @property
    def reports_success(self) -> bool:
        """Whether the environment reports success."""
        return not np.isnan(self.success).any()

    @property
    def mean_return(self) -> float:
        """The mean undiscounted episode return."""
        return float(self.episode_return.mean())

    @property
    def return_error(self) -> float:
        """The standard error of the mean return; NaN for a single episode."""
        return float(self.episode_return.std(ddof=1) / np.sqrt(self.episodes)) if self.episodes > 1 else float("nan")

    @property
    def success_rate(self) -> float:
        """The fraction of episodes that ended in success."""
        return float(np.mean(self.success))

    @property
    def standard_error(self) -> float:
        r"""The standard error $\sqrt{p(1 - p)/n}$ of the success rate $p$ over $n$ episodes."""
        return float(np.sqrt(self.success_rate * (1 - self.success_rate) / self.episodes))

    def metrics(self, prefix: str) -> dict[str, float]:
        """Returns the metrics for the log, with names such as `<prefix>/episode.return`.

        The metrics of success are included only if the environment reports success.
        """
        success = {SUCCESS: self.success_rate, f"{SUCCESS}_standard_error": self.standard_error}
        numbers = {RETURN: self.mean_return, "episode.length": float(self.length.mean())}
        if self.episodes > 1:
            numbers[f"{RETURN}_standard_error"] = self.return_error
        if self.reports_success:
            numbers = success | numbers
        return {f"{prefix}/{name}": number for name, number in numbers.items()}

    def __str__(self) -> str:
        """The success rate in per cent (the mean return if the task reports no success) with its standard error."""
        if self.reports_success:
            return f"{100 * self.success_rate:.0f} ± {100 * self.standard_error:.0f} %"
        error = f" ± {self.return_error:.3g}" if self.episodes > 1 else ""
        return f"{self.mean_return:.4g}{error}"


class EvaluationStoppedError(RuntimeError):
    """Raised by a running evaluation that is stopped with `Evaluator.stop`."""


class Evaluator:
    """Evaluates policies in environments that are created once and reused.

    Several environments advance in lockstep, and each compiled call draws the actions for up to eight environments. An
    episode depends only on the policy, the seed and the index of the episode, and not on the number of environments or
    processes.

    - `make_environment`: A function without arguments that creates a Gymnasium environment that reports
      `info["success"]` (NaN if the task does not report success), such as the `make_environment` of a
      [`GymnasiumTask`][floqzoo.tasks.GymnasiumTask].
    - `environments`: The number of environments in this process, at least 1.
    - `workers`: If above 0, `environments` is ignored, and this many worker processes run one environment each (at most
      one per episode); see `EnvironmentWorker`.

    **Raises** `ValueError` if `environments` or `workers` is out of range, or if `workers` is above 0 and
    `make_environment` cannot be pickled.
    """

    def __init__(
        self, make_environment: Callable[[], Any], *, environments: SupportsIndex = 4, workers: SupportsIndex = 0
    ):
        environments, workers = operator.index(environments), operator.index(workers)
        for name, number, least in (("environments", environments, 1), ("workers", workers, 0)):
            if number < least:
                raise ValueError(f"`{name}` must be at least {least}; got {number}.")
        if workers:
            require_picklable(make_environment)
        self._make_environment = make_environment
        self._count, self._in_processes = workers or environments, workers > 0
        self._players: list[EpisodePlayer | EnvironmentWorker] = []
        self._stopped = threading.Event()

    def prepare(self, episodes: int) -> None:
        """Creates the environments for `episodes` episodes, and waits until they are ready.

        `evaluate` calls this method, so calling it is optional.
        """
        while len(self._players) < min(self._count, episodes):
            self._players.append(self._new_player())
        for player in self._players:
            _ = player.action_space

    def evaluate(
        self, actor: Any, *, episodes: SupportsIndex, seed: SupportsIndex, progress: Callable[[int], None] | None = None
    ) -> Evaluation:
        """Plays episodes 0 to `episodes` - 1, and returns their results.

        - `actor`: An agent, or its `ActorCritic`.
        - `episodes`: The number of episodes, at least 1.
        - `seed`: The seed of the episodes and the actions, in [0, 2^32).
        - `progress`: A function that is called after each finished episode with the number of finished episodes.

        **Raises** `ValueError` if `episodes` or `seed` is out of range, if an action is NaN or outside the action
        space, or if the environment does not report `info["success"]`; `TypeError` if `actor` is a policy without its
        critic; `WorkerCrashedError` if the process of an environment crashed three times in one episode;
        `EvaluationStoppedError` if `stop` is called.
        """
        episodes, seed = operator.index(episodes), operator.index(seed)
        if episodes < 1:
            raise ValueError(f"`episodes` must be at least 1; got {episodes}.")
        if seed < 0:
            raise ValueError(f"`seed` must not be negative; got {seed}.")
        # Environments in worker processes do not touch the random state of this process.
        with nullcontext() if self._in_processes else numpy_state_kept():
            self.prepare(episodes)
            return self._play(BatchedPolicy(actor, seed), episodes, seed, progress or (lambda finished: None))

    def stop(self) -> None:
        """Stops the running evaluation at its next step, and kills all worker processes immediately.

        This method can be called from any thread. The evaluator cannot be used afterwards.
        """
        self._stopped.set()
        for player in self._players:
            if isinstance(player, EnvironmentWorker):
                player.give_up()

    def close(self) -> None:
        """Closes all environments."""
        while self._players:
            self._players.pop().close()

    def _new_player(self) -> EpisodePlayer | EnvironmentWorker:
        if self._in_processes:
            return EnvironmentWorker(self._make_environment)
        return EpisodePlayer.of(self._make_environment)

    def _play(self, policy: BatchedPolicy, episodes: int, seed: int, progress: Callable[[int], None]) -> Evaluation:
        result = Evaluation(np.zeros(episodes), np.zeros(episodes), np.zeros(episodes, int))
        active = [RepeatableEnvironment(player, seed) for player in self._players[:episodes]]
        unplayed = iter(range(episodes))
        _begin(active, unplayed)
        finished = 0
        while active:
            if self._stopped.is_set():
                raise EvaluationStoppedError("the evaluation was stopped.")
            ended = _advance(active, policy)
            for environment in ended:
                _record(environment, result)
                finished += 1
                progress(finished)
            begun = _begin(ended, unplayed)
            active = [environment for environment in active if environment not in ended or environment in begun]
        return result


def evaluate(
    actor: Any,
    make_environment: Callable[[], Any],
    *,
    episodes: SupportsIndex,
    seed: SupportsIndex,
    environments: SupportsIndex = 4,
    workers: SupportsIndex = 0,
) -> Evaluation:
    """Evaluates an agent in new environments, which are then closed; see `Evaluator` and `Evaluator.evaluate`."""
    evaluator = Evaluator(make_environment, environments=environments, workers=workers)
    try:
        return evaluator.evaluate(actor, episodes=episodes, seed=seed)
    finally:
        evaluator.close()


def _record(played: RepeatableEnvironment, result: Evaluation) -> None:
    result.success[played.episode] = played.success
    result.episode_return[played.episode] = played.episode_return
    result.length[played.episode] = len(played.actions)


def _begin(environments: list[RepeatableEnvironment], unplayed: Iterator[int]) -> list[RepeatableEnvironment]:
    """Starts an episode in each environment until no episode is left; returns the environments with a new episode."""
    begun = []
    for environment, episode in zip(environments, unplayed, strict=False):
        environment.begin(episode)
        begun.append(environment)
    for environment in begun:
        environment.receive_start()
    return begun


def _advance(active: list[RepeatableEnvironment], policy: BatchedPolicy) -> list[RepeatableEnvironment]:
    """Takes one step in every environment; returns those whose episode ended."""
    actions = policy.actions(
        np.stack([environment.observation for environment in active]),
        np.array([environment.episode for environment in active]),
        np.array([len(environment.actions) for environment in active]),
    )
    for environment, action in zip(active, actions, strict=True):
        environment.step(action)
    return [environment for environment in active if environment.receive_step().over]
