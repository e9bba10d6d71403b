"""What the process of an environment does, and the messages that go to it."""

import os
import signal
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
from jaxtyping import Float

from floqzoo.tasks.worker_process import follow_parent
from floqzoo.training.episode_player import EpisodePlayer, StepOutcome


@dataclass(frozen=True)
class Begin:
    """Asks for the start of an episode; the answer is its first observation."""

    episode: int
    seed: int

    def reply(self, player: EpisodePlayer) -> Float[np.ndarray, " observation"]:
        """Begins."""
        player.begin(self.episode, self.seed)
        return player.receive_start()


@dataclass(frozen=True)
class Step:
    """Asks for a step; the answer is its outcome."""

    action: Float[np.ndarray, " action"]

    def reply(self, player: EpisodePlayer) -> StepOutcome:
        """Steps."""
        player.step(self.action)
        return player.receive_step()


@dataclass(frozen=True)
class Failure:
    """What an environment raised."""

    error: BaseException

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """The error as it can be sent, with its traceback as a note."""
        trace = "".join(traceback.format_exception(error))
        try:
            ForkingPickler.loads(ForkingPickler.dumps(error))  # pyright: ignore[reportAttributeAccessIssue]
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        error.add_note(f"In the process of the environment:\n{trace}")
        return cls(error)


def serve(connection: Connection, variables: Mapping[str, str], dtype: np.dtype) -> None:
    """First receives a function that makes the environment, and sends the action space; then a reply to each request,
    until there are no more.

    - `variables`: The environment variables of the process.
    - `dtype`: Of observations.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    follow_parent()
    os.environ.clear()
    os.environ.update(variables)
    with suppress(EOFError, OSError), connection:
        try:
            player = EpisodePlayer(connection.recv()(), dtype)
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
    except BaseException as error:  # Whatever it is, it is for the process that asked.
        return Failure.of(error)
