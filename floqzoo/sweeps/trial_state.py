"""How far a trial is, read from its folder alone."""

from datetime import datetime
from pathlib import Path

from floqzoo.runs.metric_log import read_metrics
from floqzoo.runs.run_store import RECORDS
from floqzoo.runs.stored_run import StoredRun
from floqzoo.tasks.files import write_json


LOG = "log.txt"
"""What a trial prints, all of its starts one after another."""
_FINISHED = "finished.json"


def has_begun(directory: Path) -> bool:
    """Whether there is a run in the folder, to be gone on with."""
    return all((directory / name).is_file() for name in RECORDS)


def is_finished(directory: Path) -> bool:
    """Whether the run in the folder made all its updates, its last evaluation, and its report."""
    return (directory / _FINISHED).is_file()


def mark_finished(directory: Path) -> None:
    """Says that a run is finished. Its tables do not tell that nothing was to come after their last row."""
    write_json(directory / _FINISHED, {"finished": datetime.now().astimezone().isoformat(timespec="seconds")})


def require_readable(directory: Path) -> None:
    """Checks that a run which has begun can be gone on with, or compared.

    **Raises** `ValueError` if it is damaged, or of another run format.
    """
    if has_begun(directory):
        StoredRun(directory)


def logged_progress(directory: Path) -> tuple[int, float]:
    """The updates that a run has logged, and the seconds that it has trained; zeros before the first row."""
    try:
        table = read_metrics(directory / "train.csv")
    except (OSError, ValueError):  # Not there yet, or just being replaced on another machine.
        return 0, 0.0
    if not len(table["step"]):
        return 0, 0.0
    seconds = table.get("time/total_time")
    return int(table["step"].max()), 0.0 if seconds is None else float(seconds[-1])


def last_lines(directory: Path, count: int = 5) -> list[str]:
    """The end of what a trial printed, blank lines left out."""
    try:
        text = (directory / LOG).read_text(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]
