"""Environments that survive the crash of their process, and that can be brought back to an earlier state."""

from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
from jaxtyping import Float

from floqzoo.rollout.environment_process import Begin, EnvironmentProcess, Step, WorkerCrashedError
from floqzoo.rollout.episode_player import EpisodePlayer, StepOutcome


CRASHES = 3
"""A process that crashes so often in one episode is not started again."""


class EnvironmentWorker:
    """Plays numbered episodes as an `EpisodePlayer` does, in a process of its own.

    To ask and to receive are separate calls, so that several workers step at once:

        for worker, action in zip(workers, actions):
            worker.step(action)
        outcomes = [worker.receive_step() for worker in workers]

    An episode depends on its number, its seed and its actions alone. So if the process crashes, another one is started,
    begins the episode again and takes the same actions, and whoever waits for an answer only waits longer. What the
    environment raises is raised by the call that receives, and the worker can go on.

    The process starts at once; the first call to receive waits until it is ready. It opens no accelerator, leaves Ctrl-C and
    SIGTERM to this process, and ends with it, however that ends. A script that makes workers must do so under
    `if __name__ == "__main__":`, as every use of Python's `multiprocessing` does.

    - `make_environment`: Makes a Gymnasium environment that reports `info["success"]`. It is pickled.

    **Raises** `ValueError` if `make_environment` cannot be pickled. All methods raise `WorkerCrashedError` if the process
    crashed three times in one episode, naming it.
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
        """That of the environment; waits until the process is ready."""
        return self._surviving(lambda: self._process.action_space)

    @property
    def process_number(self) -> int:
        """The number that the system gave the process."""
        return self._process.number

    def begin(self, episode: int, seed: int) -> None:
        """Asks for the start of an episode."""
        if self._crashes == CRASHES:  # In the episode before, which was given up.
            self._start_another()
        self._requests, self._crashes = [], 0
        self._ask(Begin(episode, seed))

    def receive_start(self) -> Float[np.ndarray, " observation"]:
        """The first observation of the episode."""
        return self._surviving(lambda: self._process.receive())

    def step(self, action: Float[np.ndarray, " action"]) -> None:
        """Asks for a step."""
        self._ask(Step(action))

    def receive_step(self) -> StepOutcome:
        """What came of the step."""
        return self._surviving(lambda: self._process.receive())

    def give_up(self) -> None:
        """Ends the process at once, from any thread; whoever waits for an answer gets a `WorkerCrashedError`."""
        self._given_up = True
        self._process.kill()

    def close(self) -> None:
        """Closes the environment and ends the process. May be called again."""
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
        """Brings another process to where this one was: the latest request is sent, and not answered yet."""
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
        if self._given_up:  # Meanwhile, by another thread.
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
    """Checks that what makes an environment can go to another process.

    **Raises** `ValueError`, naming it and the way without processes.
    """
    try:
        ForkingPickler.dumps(make_environment)
    except Exception as error:  # What it consists of may say no in a way of its own.
        raise ValueError(
            f"`make_environment` must be picklable to go to a process of its own; got {make_environment!r}: {error}. "
            "Define it at the top of a module, or stay in this process: `eval_workers=0`, `online_processes=False`."
        ) from error


class RepeatableEnvironment:
    """Plays the episodes of one seed, and keeps the actions of the one under way.

    An episode depends on its number, its seed and its actions alone. So where a run goes on, another process takes the
    same actions again, and is in the same place.

    - `player`: Plays the episodes, here or in a process of its own.
    - `seed`: The seed of all episodes.

    Attributes: `episode`, the number of the one under way; `actions`, those that it took so far; `observation`, what it
    shows now; `episode_return`, the sum of its rewards; `success`, whether its latest step reported success.
    """

    def __init__(self, player: EpisodePlayer | EnvironmentWorker, seed: int):
        self.player, self.seed = player, seed
        self.episode = -1
        self.actions: list[Float[np.ndarray, " action"]] = []
        self.observation = np.zeros(0)
        self.episode_return, self.success = 0.0, 0.0

    def begin(self, episode: int) -> None:
        """Asks for an episode; `receive_start` waits for it."""
        self.episode, self.actions, self.episode_return, self.success = episode, [], 0.0, 0.0
        self.player.begin(episode, self.seed)

    def receive_start(self) -> None:
        """Waits until the episode has begun.

        **Raises** what the environment raises, and `WorkerCrashedError` if its process is lost again and again.
        """
        self.observation = self.player.receive_start()

    def step(self, action: Float[np.ndarray, " action"]) -> None:
        """Asks for a step; `receive_step` waits for it.

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
        """Waits for what comes of the step.

        **Raises** what the environment raises, and `WorkerCrashedError` if its process is lost again and again.
        """
        outcome = self.player.receive_step()
        self.observation, self.success = outcome.observation, outcome.success
        self.episode_return += outcome.reward
        return outcome

    def close(self) -> None:
        """Closes the environment, and ends its process if it has one."""
        self.player.close()
