"""Runs an environment in a separate process, which exchanges messages with the main process."""

import atexit
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
from jaxtyping import Float, Real

from floqzoo.rollout.episode_player import EpisodePlayer, StepOutcome, observation_dtype
from floqzoo.tasks.own_code import ForAnotherProcess
from floqzoo.tasks.worker_process import follow_parent


@dataclass(frozen=True)
class Begin:
    """A request to start an episode; the reply is the first observation of the episode."""

    episode: int
    seed: int

    def reply(self, player: EpisodePlayer) -> Real[np.ndarray, " observation"]:
        """Starts an episode, and returns its first observation."""
        player.begin(self.episode, self.seed)
        return player.receive_start()


@dataclass(frozen=True)
class Step:
    """A request to take a step; the reply is the outcome of the step."""

    action: Float[np.ndarray, " action"]

    def reply(self, player: EpisodePlayer) -> StepOutcome:
        """Takes a step, and returns its outcome."""
        player.step(self.action)
        return player.receive_step()


@dataclass(frozen=True)
class Failure:
    """The reply to a request that failed because the environment raised an error."""

    error: BaseException

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """Wraps an error in a picklable form, with its traceback as a note."""
        trace = "".join(traceback.format_exception(error))
        try:
            ForkingPickler.loads(ForkingPickler.dumps(error))  # pyright: ignore[reportAttributeAccessIssue]
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        error.add_note(f"In the process of the environment:\n{trace}")
        return cls(error)


def serve(connection: Connection, variables: Mapping[str, str], dtype: np.dtype) -> None:
    """Runs the main loop of the process, until the connection is closed.

    The process first receives a function that creates the environment, then sends the action space, and then replies to
    one request after another.

    - `connection`: The connection to the main process.
    - `variables`: The environment variables of the process.
    - `dtype`: The dtype of observations.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    follow_parent()
    os.environ.clear()
    os.environ.update(variables)
    with suppress(EOFError, OSError), connection:
        try:
            player = EpisodePlayer.of(connection.recv().value(), dtype)
        except BaseException as error:
            connection.send(Failure.of(error))
            return
        try:
            connection.send(player.action_space)
            while True:
                connection.send(_answer(connection.recv(), player))
        finally:
            player.environment.close()


def _answer(request: Begin | Step, player: EpisodePlayer) -> Any:
    try:
        return request.reply(player)
    except BaseException as error:  # sent to the requesting process
        return Failure.of(error)


PATIENCE = 5.0
"""The time in seconds that a process has to close its environment before it is killed."""


class WorkerCrashedError(RuntimeError):
    """Raised if the process of an environment ends unexpectedly, for example because of a segmentation fault or a kill
    signal."""


class EnvironmentProcess:
    """A process that runs one environment, and replies to one request at a time until it is closed.

    The process is started by the constructor, and is ready a few seconds later. It uses no accelerator, ignores Ctrl-C
    and SIGTERM, and ends when its parent process ends, even if the parent is killed.

    - `make_environment`: A function without arguments that creates the environment; must be picklable.
    """

    def __init__(self, make_environment: Callable[[], Any]):
        # Forked from a server process that has only done imports, so later processes start quickly.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([serve.__module__])
        packed = ForkingPickler.dumps(ForAnotherProcess.of(make_environment))
        self._connection, theirs = context.Pipe()
        with _born_quietly() as variables:
            self._process = context.Process(target=serve, args=(theirs, variables, observation_dtype()))
            self._process.start()
        theirs.close()
        with suppress(OSError):  # if it has ended already, `receive` reports it
            self._connection.send_bytes(packed)
        self._action_space, self._unanswered = None, False
        atexit.register(self.close)

    @property
    def number(self) -> int:
        """The process ID."""
        return self._process.pid or -1

    @property
    def action_space(self) -> Any:
        """The action space of the environment. Accessing it waits until the process is ready.

        **Raises** `WorkerCrashedError` if the process has ended, and any error that `make_environment` raises.
        """
        if self._action_space is None:  # the first message of the process
            self._action_space = _raised(self._next_message())
        return self._action_space

    def ask(self, request: Begin | Step) -> None:
        """Sends a request. If the reply to the previous request has not been received, it is dropped.

        **Raises** `WorkerCrashedError` if the process has ended, and any error that `make_environment` raises.
        """
        if self._unanswered:
            self._answer()
        try:
            self._connection.send(request)
        except OSError as error:
            raise self._crash() from error
        self._unanswered = True

    def receive(self) -> Any:
        """Waits for the reply to the last request, and returns it.

        **Raises** `WorkerCrashedError` if the process has ended, and any error that the environment raises.
        """
        return _raised(self._answer())

    def kill(self) -> None:
        """Kills the process immediately.

        This method can be called from any thread, even while another thread waits for a reply.
        """
        self._process.kill()

    def close(self) -> None:
        """Closes the environment and ends the process. Further calls have no effect."""
        atexit.unregister(self.close)
        if self._connection.closed:
            return
        self._connection.close()
        if self._action_space is None:  # nothing to close yet
            self._process.kill()
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self) -> Any:
        _ = self.action_space
        self._unanswered = False
        return self._next_message()

    def _next_message(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._crash() from error

    def _crash(self) -> WorkerCrashedError:
        self._process.join(PATIENCE)
        code = self._process.exitcode
        if self._action_space is None:
            hint = 'a script must start it under `if __name__ == "__main__":`'
            return WorkerCrashedError(f"the process ended before it was ready, with exit code {code}; {hint}.")
        return WorkerCrashedError(f"the process ended with exit code {code}.")


def _raised(message: Any) -> Any:
    if isinstance(message, Failure):
        raise message.error
    return message


_starting = threading.Lock()


@contextmanager
def _born_quietly() -> Iterator[dict[str, str]]:
    """Makes processes started within the block ignore SIGINT and SIGTERM from the start, and use no accelerator.

    Yields the environment variables for such a process.
    """
    with _starting:
        resource_tracker.ensure_running()  # starting it later would unblock the signals
        before = dict(os.environ)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        # The fork server must import from the same paths as this process, not from the folder where it is started.
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        changes = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}
        os.environ |= changes
        try:
            yield {**before, "JAX_PLATFORMS": "cpu"}
        finally:
            for name in changes:
                os.environ.pop(name)
                os.environ |= {name: before[name]} if name in before else {}
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
