"""Shows the progress of a sweep: on a terminal as a table with a row for each method, elsewhere as plain lines."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from floqzoo.sweeps.trial import Trial
from floqzoo.sweeps.trial_state import LOG, last_lines, logged_progress
from floqzoo.training.progress import LINE_SECONDS


LOOK_SECONDS = 2.0
"""The minimum time in seconds between two reads of the trials' folders."""


@dataclass(frozen=True)
class Progress:
    """The progress of a trial.

    - `done`, `total`: The number of finished steps, and the total number.
    - `seconds`: The training time so far, in seconds.
    - `state`: "finished", "running", "waiting" or "failed".
    """

    done: int
    total: int
    seconds: float
    state: str


class LiveView:
    """A view of the progress of a sweep's trials, which is used as a context manager.

    - `trials`: All trials, including those that were already finished.
    - `unfinished`: The trials to run.
    - `stream`: The output stream; standard error by default.
    """

    def __init__(self, trials: Sequence[Trial], unfinished: Sequence[Trial], *, stream: Any = None):
        self._console = Console(file=stream or sys.stderr)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._trials, self._unfinished, self._failed = trials, set(unfinished), set()
        self._log_sizes = {trial: _log_size(trial) for trial in unfinished}
        self._last_look, self._last_line = -LOOK_SECONDS, time.monotonic()

    def __enter__(self) -> "LiveView":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        """Prints a line of text, above the table if there is one."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def look(self, left: Sequence[Trial], *, now: bool = False) -> None:
        """Reads the progress from the trials' folders and shows it, unless it was read less than `LOOK_SECONDS` ago.

        - `left`: The trials that have not ended yet.
        - `now`: Whether to do this regardless of when the progress was last read.
        """
        if not now and time.monotonic() - self._last_look < LOOK_SECONDS:
            return
        self._last_look = time.monotonic()
        progress = {trial: self._progress(trial, left) for trial in self._trials}
        words = "\n".join([_summary(progress), *_first_words(progress)])
        if self._live:
            self._live.update(Group(_table(progress), Text(words)), refresh=True)
        elif now or time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            self.say(words)

    def _progress(self, trial: Trial, left: Sequence[Trial]) -> Progress:
        total = trial.config.total_steps
        if trial not in self._unfinished:
            return Progress(total, total, 0.0, "finished")
        done, seconds = logged_progress(trial.directory)
        if trial in left:
            begun = _log_size(trial) > self._log_sizes[trial]
            return Progress(done, total, seconds, "running" if begun else "waiting")
        return Progress(done, total, seconds, "finished" if done >= total else "failed")


def seconds_left(progress: dict[Trial, Progress]) -> float | None:
    """Estimates the time in seconds until all trials are finished; returns None while no speed is known.

    The estimate assumes that each step takes as long as the average step of the same method or, if that is unknown, of
    the other methods. It also assumes that the number of parallel trials does not change.
    """
    speeds: dict[str, list[float]] = {}
    for trial, one in progress.items():
        if one.seconds > 0 and one.done > 0:
            speeds.setdefault(trial.method, []).append(one.seconds / one.done)
    if not speeds:
        return None
    mean = {method: sum(values) / len(values) for method, values in speeds.items()}
    other = sum(mean.values()) / len(mean)
    work = [
        (one.total - one.done) * mean.get(trial.method, other)
        for trial, one in progress.items()
        if one.state in ("running", "waiting")
    ]
    at_once = max(1, sum(one.state == "running" for one in progress.values()))
    return max([sum(work) / at_once, *work], default=0.0)


def _table(progress: dict[Trial, Progress]) -> Table:
    table = Table("method", "trials", "finished", "running", "waiting", "failed", "steps", "", box=None)
    for method in dict.fromkeys(trial.method for trial in progress):
        mine = [one for trial, one in progress.items() if trial.method == method]
        counts = [str(_count(mine, state)) for state in ("finished", "running", "waiting", "failed")]
        share = sum(one.done for one in mine) / sum(one.total for one in mine)
        table.add_row(method, str(len(mine)), *counts, f"{share:.0%}", ProgressBar(completed=100 * share, width=30))
    return table


def _summary(progress: dict[Trial, Progress]) -> str:
    all_of_them = list(progress.values())
    counts = [f"{_count(all_of_them, state)} {state}" for state in ("finished", "running", "waiting", "failed")]
    share = sum(one.done for one in all_of_them) / sum(one.total for one in all_of_them)
    left = seconds_left(progress)
    time_left = [] if left is None else [f"{_duration(left)} left"]
    return ", ".join([f"{len(all_of_them)} trials: {counts[0]}", *counts[1:], f"{share:.0%} of the steps", *time_left])


def _first_words(progress: dict[Trial, Progress]) -> list[str]:
    """The last line of output of a running trial without a logged step, such as the progress of its data collection."""
    for trial, one in progress.items():
        if one.state == "running" and not one.done:
            return last_lines(trial.directory, 1)
    return []


def _count(progress: Sequence[Progress], state: str) -> int:
    return sum(one.state == state for one in progress)


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.0f} h" if minutes < 72 * 60 else f"{minutes / 60 / 24:.0f} days"


def _log_size(trial: Trial) -> int:
    try:
        return (trial.directory / LOG).stat().st_size
    except OSError:
        return 0
