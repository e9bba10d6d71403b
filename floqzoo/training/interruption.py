"""Ctrl-C and SIGTERM that wait for the end of what must not be broken off."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM: a machine is about to be taken away, and the process is told to end."""


def signal_of(interrupt: KeyboardInterrupt) -> signal.Signals:
    """The signal behind an interrupt: SIGTERM or that of Ctrl-C."""
    return signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT


@contextmanager
def stoppable(agreed: Callable[[int], int] | None = None) -> Iterator[Callable[[], None]]:
    """Within the block Ctrl-C raises `KeyboardInterrupt` and SIGTERM `Terminated`.

    Yields a function that raises it again: an exception that a signal raises inside a destructor or a callback is lost
    there, so a loop should call it in each turn. Outside the main thread, and where the process ignores a signal, nothing
    is changed.

    - `agreed`: Makes the greatest of the numbers that several processes bring, for those that work in step. Then a signal
      that any of them gets is raised in all of them, and by that function alone, which all must call equally often; a
      second one takes effect at once.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if agreed is None or len(received) > 1:
            raise _error_of(number)

    def check() -> None:
        number = received[0] if received else 0
        if number := number if agreed is None else agreed(number):
            raise _error_of(number)

    with _handling(signal.SIGINT, stop), _handling(signal.SIGTERM, stop):
        yield check


@contextmanager
def interrupt_held() -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM take effect only when the block is done; a second one takes effect at once.

    Inside the block the state of a run may be half donated or half written, and an interrupt would lose it. Afterwards it
    does what it would have done outside of it.
    Outside the main thread no signal arrives, and where the process ignores a signal, as one in the background
    may, it goes on doing so.
    """
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if held:
            raise _error_of(number)
        held.append(number)
        # Not `print`, which must not be entered twice, and a signal may arrive inside it.
        os.write(2, b"\nStopping at the next safe point; press Ctrl-C again to stop at once.\n")

    with _handling(signal.SIGINT, hold), _handling(signal.SIGTERM, hold):
        yield
    if held:
        signal.raise_signal(held[0])


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
