"""How a start of a trial ended, and whether it is worth another one."""

from dataclasses import dataclass
from signal import Signals

from floqzoo.training.cli_errors import FAILED, USER_ERROR


UNEXPECTED = 70
"""The exit status of a trial that ended with a traceback."""
NO_DATA = 75
"""The exit status of a trial whose data could not be downloaded."""


@dataclass(frozen=True)
class Ending:
    """How a start of a trial ended.

    - `done`: Whether the trial is finished.
    - `reason`: In words, if it is not.
    - `final`: Whether it would end the same way again.
    """

    done: bool
    reason: str = ""
    final: bool = False


def ending_of(status: int) -> Ending:
    """What the exit status of a trial says; below 0 it is a signal's number, as `subprocess` has it.

    What floqzoo itself says in one sentence, such as a number that became NaN, would come again. A signal means that the
    machine was taken away or memory ran out, and a traceback or a download that something failed which may work the next
    time.
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
