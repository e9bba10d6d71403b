"""Ctrl-C that waits for the end of what must not be broken off."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupt_held() -> Iterator[None]:
    """Lets a Ctrl-C take effect only when the block is done; a second one takes effect at once.

    Inside the block the state of a run may be half donated or half written, and an interrupt would lose it.
    Outside the main thread no signal arrives, and where the process ignores Ctrl-C, as one in the background
    may, it goes on doing so.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if held:
            raise KeyboardInterrupt
        held.append(number)
        # Not `print`, which must not be entered twice, and a signal may arrive inside it.
        os.write(2, b"\nStopping at the next safe point; press Ctrl-C again to stop at once.\n")

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)
    if held:
        raise KeyboardInterrupt
