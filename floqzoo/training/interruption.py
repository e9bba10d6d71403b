"""Handles Ctrl-C and SIGTERM, and defers them during code that must not be interrupted."""

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


COMPILER = "jax._src.compiler"
"""The module of JAX in which Python waits for a compilation."""


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, when the process must end, for example because its machine is about to be preempted."""


def signal_of(interrupt: KeyboardInterrupt) -> signal.Signals:
    """Returns the signal that caused an interrupt: SIGTERM, or SIGINT for Ctrl-C."""
    return signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT


@contextmanager
def stoppable(agreed: Callable[[int], int] | None = None) -> Iterator[Callable[[], None]]:
    """Makes Ctrl-C raise `KeyboardInterrupt` and SIGTERM raise `Terminated` within the block.

    Yields a function that raises the exception again if a signal has arrived. A loop should call this function in each
    iteration, because an exception that is raised inside a destructor or a callback is lost, and because a signal that
    arrives while JAX is compiling raises nothing. Outside the main thread, and for signals that the process ignores,
    nothing changes.

    - `agreed`: For several processes that work in lockstep, a function that returns the maximum of the numbers that the
      processes pass to it. A signal to any process then raises the exception in all of them, but only when they call
      the yielded function, which all must call the same number of times. A second signal takes effect immediately.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if agreed is None or len(received) > 1:
            _interrupt(number, frame)

    def check() -> None:
        number = received[0] if received else 0
        if number := number if agreed is None else agreed(number):
            raise _error_of(number)

    with _handling(signal.SIGINT, stop), _handling(signal.SIGTERM, stop):
        yield check


@contextmanager
def interrupt_held() -> Iterator[None]:
    """Delays Ctrl-C and SIGTERM until the end of the block. A second signal takes effect at once unless JAX compiles.

    Use it around code that leaves the state of a run partly donated or partly written, where an interrupt would lose
    the state. No signals arrive outside the main thread. Signals that the process already ignores stay ignored.
    """
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if held:
            _interrupt(number, frame)
            return
        held.append(number)
        # Not `print`, which is not reentrant: a signal may arrive inside it.
        os.write(2, b"\nStopping at the next safe point; press Ctrl-C again to stop at once.\n")

    with _handling(signal.SIGINT, hold), _handling(signal.SIGTERM, hold):
        yield
    if held:
        signal.raise_signal(held[0])


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raises the exception of a signal that has interrupted `frame`, unless JAX is compiling.

    The exception would abandon the compilation without ending it. If Python then exits while a thread of XLA still
    compiles, that thread uses a client that no longer exists, and the process may end in a segmentation fault.
    """
    if not _is_compiling(frame):
        raise _error_of(number)
    os.write(2, b"\nStopping after the compilation.\n")


def has_abandoned_compilation(interrupt: KeyboardInterrupt) -> bool:
    """Returns whether an interrupt was raised while JAX was compiling; XLA may then still be compiling in a thread."""
    frames = [frame for frame, _ in traceback.walk_tb(interrupt.__traceback__)]
    return _is_compiling(frames[-1])


def _is_compiling(frame: FrameType | None) -> bool:
    return frame is not None and frame.f_globals.get("__name__") == COMPILER


def _error_of(number: int) -> KeyboardInterrupt:
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


@contextmanager
def _handling(number: signal.Signals, handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    ignored = signal.getsignal(number) is signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL if before is None else before)
