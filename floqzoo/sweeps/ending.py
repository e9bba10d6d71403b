"""Determines how an attempt at a trial ended, and whether to retry."""

from dataclasses import dataclass
from signal import Signals

from floqzoo.training.cli_errors import FAILED, USER_ERROR


UNEXPECTED = 70
"""The exit status of a trial that ended with a traceback."""
NO_DATA = 75
"""The exit status of a trial whose data could not be downloaded."""


@dataclass(frozen=True)
class Ending:
    """How an attempt at a trial ended.

    - `done`: Whether the trial is finished.
    - `reason`: The reason why the trial is not finished; empty if it is finished.
    - `final`: Whether a retry would end in the same way.
    """

    done: bool
    reason: str = ""
    final: bool = False


def ending_of(status: int) -> Ending:
    """Interprets the exit status of a trial; a status of $-n$ or $128 + n$ means that signal $n$ ended it.

    An expected error, which ends with a one-line message, would occur again in a retry, so it is final. An example is a
    loss that became NaN. Other failures may not occur again: a signal usually means that the machine was preempted or
    ran out of memory, and the cause of a traceback or of a failed download may be temporary.
    """
    if status == 0:
        return Ending(done=True)
    if status in (FAILED, USER_ERROR):
        return Ending(done=False, reason=f"ended with status {status}", final=True)
    if status == NO_DATA:
        return Ending(done=False, reason="could not download its data")
    number = -status if status < 0 else status - 128
    if number in set(Signals):
        return Ending(done=False, reason=f"was ended by {Signals(number).name}")
    return Ending(done=False, reason=f"died with status {status}")
