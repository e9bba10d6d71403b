"""A limit of time that long tables keep."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar


Case = TypeVar("Case")


class Deadline:
    """Lets cases through until the time is over.

    - `seconds`: From now on; None is for ever.

    Attributes: `left_out`, how many cases were not let through, since each is expected to take as long as the longest before it.
    """

    def __init__(self, seconds: float | None):
        self._end = None if seconds is None else time.monotonic() + seconds
        self.left_out = 0

    def within(self, cases: Iterable[Case], reserve: float = 0.0) -> Iterator[Case]:
        """The cases for which there is time.

        - `reserve`: Seconds that all but the first leave for what comes after them.
        """
        longest = 0.0
        for case in cases:
            begun = time.monotonic()
            if self._end is not None and begun + longest + (reserve if longest else 0.0) > self._end:
                self.left_out += 1
                continue
            yield case
            longest = max(longest, time.monotonic() - begun)
