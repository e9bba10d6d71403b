"""An environment in a process of its own, so that several advance at once, and beside whatever this process does."""

from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
from jaxtyping import Float

from floqzoo.training.environment_process import EnvironmentProcess, WorkerCrashedError
from floqzoo.training.environment_server import Begin, Step
from floqzoo.training.episode_player import StepOutcome


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
