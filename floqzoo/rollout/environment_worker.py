"""Environments that recover from a crash of their process, or resume an episode, by replaying the episode's actions."""

from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
from jaxtyping import Float, Real

from floqzoo.rollout.environment_process import Begin, EnvironmentProcess, Step, WorkerCrashedError
from floqzoo.rollout.episode_player import EpisodePlayer, StepOutcome


CRASHES = 3
"""The number of crashes in one episode after which an error is raised and the process is not restarted."""


class EnvironmentWorker:
    """Plays episodes like an `EpisodePlayer`, but in a separate process.

    Sending a request and receiving its reply are separate calls, so that several workers can step in parallel:

        for worker, action in zip(workers, actions):
            worker.step(action)
        outcomes = [worker.receive_step() for worker in workers]

    An episode depends only on its index, its seed and its actions. If the process crashes, a new process is therefore
    started and replays the episode with the same actions; the call that waits for the reply then simply takes
    longer. Errors of the environment are raised by the receiving call, and the worker remains usable.

    The process is started by the constructor, and the first receiving call waits until it is ready. The process uses no
    accelerator, ignores Ctrl-C and SIGTERM, and ends when its parent process ends, even if the parent is killed. A
    script must create workers under `if __name__ == "__main__":`, as is usual with Python's `multiprocessing`.

    - `make_environment`: A function without arguments that creates a Gymnasium environment that reports
      `info["success"]`; must be picklable.

    **Raises** `ValueError` if `make_environment` cannot be pickled. Methods that communicate with the process raise
    `WorkerCrashedError` if it has crashed three times in one episode; the message names the episode.
    """

    def __init__(self, make_environment: Callable[[], Any]):
        require_picklable(make_environment)
        self._make_environment = make_environment
        self._process = EnvironmentProcess(make_environment)
        self._requests: list[Begin | Step] = []
        self._crashes = 0
        self._given_up = False

    @property
    def action_space(self) -> Any:
        """The action space of the environment. Accessing it waits until the process is ready."""
        return self._surviving(lambda: self._process.action_space)

    @property
    def process_number(self) -> int:
        """The process ID of the environment's current process."""
        return self._process.number

    def begin(self, episode: int, seed: int) -> None:
        """Requests the start of an episode, without waiting for its first observation."""
        if self._crashes == CRASHES:  # in the previous, abandoned episode
            self._start_another()
        self._requests, self._crashes = [], 0
        self._ask(Begin(episode, seed))

    def receive_start(self) -> Real[np.ndarray, " observation"]:
        """Waits for the first observation of the episode, and returns it."""
        return self._surviving(lambda: self._process.receive())

    def step(self, action: Float[np.ndarray, " action"]) -> None:
        """Requests a step, without waiting for its outcome."""
        self._ask(Step(action))

    def receive_step(self) -> StepOutcome:
        """Waits for the outcome of the requested step, and returns it."""
        return self._surviving(lambda: self._process.receive())

    def give_up(self) -> None:
        """Kills the process immediately. A call that is waiting for a reply then raises `WorkerCrashedError`.

        This method can be called from any thread.
        """
        self._given_up = True
        self._process.kill()

    def close(self) -> None:
        """Closes the environment and ends the process. Further calls have no effect."""
        self._process.close()

    def _ask(self, request: Begin | Step) -> None:
        self._requests.append(request)
        try:
            self._process.ask(request)
        except WorkerCrashedError as crash:
            self._begin_again(crash)

    def _surviving(self, receive: Callable[[], Any]) -> Any:
        while True:
            try:
                return receive()
            except WorkerCrashedError as crash:
                self._begin_again(crash)

    def _begin_again(self, crash: WorkerCrashedError) -> None:
        """Brings a new process to the state of the crashed one, whose latest request is sent but not yet answered."""
        while True:
            if self._given_up:
                raise crash
            self._crashes += 1
            if self._crashes == CRASHES:
                raise WorkerCrashedError(f"{self._where()} crashed its process {CRASHES} times: {crash}") from crash
            self._start_another()
            try:
                return self._repeat()
            except WorkerCrashedError as again:
                crash = again

    def _start_another(self) -> None:
        self._process.close()
        self._process = EnvironmentProcess(self._make_environment)
        if self._given_up:  # in the meantime, by another thread
            self._process.kill()

    def _repeat(self) -> None:
        for number, request in enumerate(self._requests):
            if number:
                self._process.receive()
            self._process.ask(request)

    def _where(self) -> str:
        if not self._requests:
            return "an environment"
        first = self._requests[0]
        return f"episode {first.episode} of seed {first.seed}" if isinstance(first, Begin) else "an episode"


def require_picklable(make_environment: Callable[[], Any]) -> None:
    """Checks that `make_environment` can be pickled.

    **Raises** `ValueError` if it cannot be pickled; the message explains how to run without worker processes.
    """
    try:
        ForkingPickler.dumps(make_environment)
    except Exception as error:  # pickling may raise any error
        raise ValueError(
            f"`make_environment` must be picklable to run in another process; got {make_environment!r}: {error}. "
            "Define it at the top level of a module, or run environments in this process with `eval_workers=0` and "
            "`online_processes=False`."
        ) from error


class RepeatableEnvironment:
    """Plays the episodes of one seed, and records the actions of the current episode.

    An episode depends only on its index, its seed and its actions, so a resumed run can restore the state of the
    environment by replaying the actions.

    - `player`: The player of the episodes, which runs the environment in this process or in another one.
    - `seed`: The seed of all episodes.

    The attributes describe the current episode: `episode` is its index, `actions` the list of its actions so far,
    `observation` the current observation, `episode_return` the sum of the rewards so far, and `success` the success in
    the latest `StepOutcome`.
    """

    def __init__(self, player: EpisodePlayer | EnvironmentWorker, seed: int):
        self.player, self.seed = player, seed
        self.episode = -1
        self.actions: list[Float[np.ndarray, " action"]] = []
        self.observation = np.zeros(0)
        self.episode_return, self.success = 0.0, 0.0

    def begin(self, episode: int) -> None:
        """Requests the start of an episode; `receive_start` waits for the first observation."""
        self.episode, self.actions, self.episode_return, self.success = episode, [], 0.0, 0.0
        self.player.begin(episode, self.seed)

    def receive_start(self) -> None:
        """Waits for the first observation of the episode.

        **Raises** any error that the environment raises, and `WorkerCrashedError` if its process crashes repeatedly.
        """
        self.observation = self.player.receive_start()

    def step(self, action: Float[np.ndarray, " action"]) -> None:
        """Requests a step; `receive_step` waits for its outcome.

        **Raises** `ValueError` if the action is NaN or outside the action space.
        """
        space = self.player.action_space
        if not ((action >= space.low) & (action <= space.high)).all():
            raise ValueError(
                f"the policy must draw finite actions between {space.low} and {space.high}; "
                f"in step {len(self.actions)} of episode {self.episode} of seed {self.seed} it drew {action}."
            )
        self.actions.append(action)
        self.player.step(action)

    def receive_step(self) -> StepOutcome:
        """Waits for the outcome of the requested step, and returns it.

        **Raises** any error that the environment raises, and `WorkerCrashedError` if its process crashes repeatedly.
        """
        outcome = self.player.receive_step()
        self.observation, self.success = outcome.observation, outcome.success
        self.episode_return += outcome.reward
        return outcome

    def close(self) -> None:
        """Closes the environment, and ends its process if it runs in a separate one."""
        self.player.close()
