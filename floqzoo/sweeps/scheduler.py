"""Runs trials until all have ended. Trials that are preempted or crash are restarted without affecting the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from floqzoo.protocols import Launcher
from floqzoo.sweeps.trial import Trial


POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Failure:
    """A trial that did not finish, and the reason for it."""

    trial: Trial
    reason: str


def run_trials(
    trials: Sequence[Trial],
    launcher: Launcher,
    *,
    restarts: int,
    say: Callable[[str], Any],
    look: Callable[[Sequence[Trial]], Any],
    check_stop: Callable[[], None] = lambda: None,
) -> list[Failure]:
    """Runs trials until each has finished or failed, and returns the failures.

    An exception, such as `KeyboardInterrupt`, stops all trials.

    - `restarts`: The maximum number of restarts per trial.
    - `say`: Called with a message when a trial ends, and when all trials are stopped.
    - `look`: Called regularly with the trials that have not ended yet.
    - `check_stop`: Called regularly; should raise an exception if a signal to stop has arrived.
    """
    left = dict.fromkeys(trials, restarts)
    failures = []
    try:
        for trial in trials:
            launcher.start(trial)
        while left:
            for trial, ending in launcher.ended(POLL_SECONDS):
                if ending.done:
                    say(f"finished: {trial}")
                elif not ending.final and left[trial]:
                    left[trial] -= 1
                    say(f"restarts, since it {ending.reason}: {trial}")
                    launcher.start(trial)
                    continue
                else:
                    say(f"failed, since it {ending.reason}: {trial}")
                    failures.append(Failure(trial, ending.reason))
                del left[trial]
            check_stop()
            look(list(left))
    except BaseException:
        say("All running trials write a checkpoint; run the same command to resume them.")
        launcher.stop()
        check_stop()  # identifies the signal, if the launcher did not
        raise
    return failures
