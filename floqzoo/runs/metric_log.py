"""Metric logs: CSV files of metrics, with one row for each step and seed."""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from floqzoo.tasks.files import replacing


KEYS = ["step", "seed"]
"""The first columns of every metric log, which together identify a row."""


class MetricLog:
    """A log of metrics: a CSV file whose first columns are `step` and `seed`, to which rows can be appended.

    A metric that first appears in a later row gets a new column, which is empty in all earlier rows. `write` returns
    once its rows are on disk. The file is valid at any time, except that its last row may be incomplete if the disk was
    full or the process was killed.

    - `path`: The file; if it exists, rows are appended to it.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        rows = _whole_rows(self.path)
        self._columns = rows[0] if rows else []
        self._steps = [int(row[0]) for row in rows[1:]]

    def rows_before(self, step: int) -> int:
        """Returns the number of rows whose step is before `step`."""
        return sum(written < step for written in self._steps)

    def write(self, step: int, metrics: Mapping[int, Mapping[str, float | int]]) -> None:
        """Appends one row for each seed; `metrics` maps each seed to its metrics."""
        names = list(dict.fromkeys(name for row in metrics.values() for name in row))
        new = [name for name in names if name not in self._columns]
        if new or not self._columns:
            self._widen(new)
        rows = [
            [str(step), str(seed), *(_cell(row.get(name)) for name in self._columns[len(KEYS) :])]
            for seed, row in metrics.items()
        ]
        with self.path.open("a", newline="") as file:
            file.write(_as_text(rows))
            _flush(file)
        self._steps += [step] * len(rows)

    def _widen(self, new: list[str]) -> None:
        rows = _whole_rows(self.path)
        self._columns = [*(self._columns or KEYS), *new]
        _replace(self.path, [self._columns, *([*row, *[""] * (len(self._columns) - len(row))] for row in rows[1:])])


def read_metrics(path: str | Path) -> dict[str, Float[np.ndarray, " rows"]]:
    """Reads a metric log, and returns its columns by name, with NaN where a row has no value.

    An incomplete last row, which a killed process may have left, is ignored.

    **Raises** `FileNotFoundError` if there is no such file; `ValueError` if it is not a metric log.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no metric log at {path}.")
    rows = _whole_rows(path)
    if not rows or rows[0][: len(KEYS)] != KEYS or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(
            f"{path} must be a table whose first columns are `step` and `seed`, with rows of equal length."
        )
    try:
        table = np.array([[float(cell or "nan") for cell in row] for row in rows[1:]])
    except ValueError as error:
        raise ValueError(f"{path} must be a table of numbers: {error}.") from error
    return dict(zip(rows[0], table.reshape(-1, len(rows[0])).T, strict=True))


def cut_metrics(path: Path, rows: int) -> None:
    """Truncates a metric log to its first `rows` rows; removes the file if `rows` is 0.

    **Raises** `ValueError` if the log has fewer rows.
    """
    written = _whole_rows(path)
    if len(written[1:]) < rows:
        raise ValueError(f"{path} must have at least {rows} rows; it has {len(written[1:])}, so some were removed.")
    if rows:
        _replace(path, written[: rows + 1])
    else:
        path.unlink(missing_ok=True)


def _cell(value: float | int | None) -> str:
    return "" if value is None else repr(float(value))


def _whole_rows(path: Path) -> list[list[str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        text = file.read()
    return list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))


def _as_text(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _replace(path: Path, rows: Iterable[Sequence[str]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        file.write(_as_text(rows))
        _flush(file)


def _flush(file: io.TextIOWrapper) -> None:
    file.flush()
    os.fsync(file.fileno())
