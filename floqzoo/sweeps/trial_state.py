"""The state of a trial, read from its folder."""

from datetime import datetime
from pathlib import Path

from floqzoo.runs.metric_log import read_metrics
from floqzoo.runs.run_store import RECORDS
from floqzoo.runs.stored_run import StoredRun
from floqzoo.tasks.files import write_json


LOG = "log.txt"
"""The name of the log file, which contains the output of all attempts at a trial."""
_FINISHED = "finished.json"


def has_begun(directory: Path) -> bool:
    """Returns whether a run was started in the folder. The run may be finished or damaged."""
    return all((directory / name).is_file() for name in RECORDS)


def is_finished(directory: Path) -> bool:
    """Returns whether the run in the folder has finished its updates, its last evaluation and its report."""
    return (directory / _FINISHED).is_file()


def mark_finished(directory: Path) -> None:
    """Marks a run as finished; without the mark, its tables would not show whether its report was completed."""
    write_json(directory / _FINISHED, {"finished": datetime.now().astimezone().isoformat(timespec="seconds")})


def require_readable(directory: Path) -> None:
    """Checks that an existing run can be resumed or compared.

    **Raises** `ValueError` if the run is damaged, or is not in the run format of this version.
    """
    if has_begun(directory):
        StoredRun(directory)


def logged_progress(directory: Path) -> tuple[int, float]:
    """Returns the last logged step and the training time in seconds; both are 0 before the first row is logged."""
    try:
        table = read_metrics(directory / "train.csv")
    except (OSError, ValueError):  # does not exist yet, or is being replaced on another machine
        return 0, 0.0
    if not len(table["step"]):
        return 0, 0.0
    seconds = table.get("time/total_time")
    return int(table["step"].max()), 0.0 if seconds is None else float(seconds[-1])


def last_lines(directory: Path, count: int = 5) -> list[str]:
    """Returns the last `count` non-blank lines of a trial's output, or all of them if there are fewer."""
    try:
        text = (directory / LOG).read_text(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]
