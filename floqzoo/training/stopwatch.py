"""Where the time of a run goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Stopwatch:
    """Seconds spent on each part of a run, and in all until it was last asked.

    Evaluations that are played beside the updates take time that is the updates', too: `waiting` is how long training stood
    still for them.
    """

    compilation: float = 0.0
    updates: float = 0.0
    evaluation: float = 0.0
    waiting: float = 0.0
    total: float = 0.0

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Adds the time of a block to a part."""
        start = time.monotonic()
        try:
            yield
        finally:
            setattr(self, part, getattr(self, part) + time.monotonic() - start)
