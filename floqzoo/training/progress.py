"""Shows the progress of long operations: a bar on a terminal, and occasional plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


LINE_SECONDS = 30.0
"""The minimum time in seconds between two lines on an output that is not a terminal."""


class ProgressReport:
    """A display of the progress, the speed and the remaining time of an operation.

    Use it as a context manager, and call `update` as often as you like. Nothing is shown before the first call.

    - `title`: The name of the operation, such as "training".
    - `unit`: The unit of progress, such as "updates".
    - `stream`: The output stream; standard error by default.
    - `quiet`: Whether to show nothing, for example because another process reports the progress.
    """

    def __init__(self, title: str, unit: str, *, stream: Any = None, quiet: bool = False):
        self._title, self._unit = title, unit
        self._console = Console(file=stream or sys.stderr, quiet=quiet)
        self._bar = _bar(self._console) if self._console.is_terminal and not quiet else None
        self._note = ""
        self._started: float | None = None
        self._started_at = 0
        self._last_line, self._last_done = time.monotonic(), 0

    def __enter__(self) -> "ProgressReport":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: int, total: int, note: str | None = None) -> None:
        """Shows that `done` of `total` units are done; `note` stays visible until the next note replaces it."""
        self._note = self._note if note is None else note
        if self._started is None:
            self.restart_clock(done)
        if self._bar:
            self._update_bar(self._bar, done, total)
        elif time.monotonic() - self._last_line >= LINE_SECONDS or self._last_done < total <= done:
            self._last_line, self._last_done = time.monotonic(), done
            self._print_line(done, total)

    def restart_clock(self, done: int) -> None:
        """Restarts the measurement of the speed after a pause; `done` is the number of units done so far."""
        self._started, self._started_at = time.monotonic(), done

    def say(self, text: str) -> None:
        """Prints `text` on a separate line, above the bar if there is one."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def _speed(self, done: int) -> float:
        return (done - self._started_at) / max(time.monotonic() - (self._started or 0.0), 1e-9)

    def _update_bar(self, bar: Progress, done: int, total: int) -> None:
        if not bar.tasks:
            bar.add_task(self._title, rate="", note="")
            bar.start()
        speed = self._speed(done)
        rate = f"{speed:,.1f} {self._unit}/s" if speed else ""
        bar.update(bar.task_ids[0], completed=done, total=total, rate=rate, note=self._note)

    def _print_line(self, done: int, total: int) -> None:
        speed = self._speed(done)
        rate = f"{speed:,.1f} {self._unit}/s" if speed else ""
        left = f"{(total - done) / speed / 60:.1f} min left" if speed and done < total else ""
        parts = [f"{self._title}: {done:,}/{total:,} {self._unit}", rate, left, self._note]
        self.say(", ".join(part for part in parts if part))


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        expand=True,
    )
