"""Trials to their end: what was preempted or died starts again, and nothing stops the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from floqzoo.protocols import Launcher
from floqzoo.sweeps.trial import Trial


POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Failure:
    """A trial that did not finish, and why."""

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
    """Runs trials until each is finished, or will not finish. An exception, such as Ctrl-C, stops all of them.

    - `restarts`: How often a trial may start again.
    - `say`: Is told of every trial that ended.
    - `look`: Is called now and then with the trials that have not ended.
    - `check_stop`: Raises what a signal asked for.
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
                    say(f"starts again, since it {ending.reason}: {trial}")
                    launcher.start(trial)
                    continue
                else:
                    say(f"failed, since it {ending.reason}: {trial}")
                    failures.append(Failure(trial, ending.reason))
                del left[trial]
            check_stop()
            look(list(left))
    except BaseException:
        say("Every trial under way writes a checkpoint; the same command goes on with them.")
        launcher.stop()
        check_stop()  # Which signal it was, in case the launcher did not say.
        raise
    return failures
