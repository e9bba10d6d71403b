"""Metrics as tables of comma-separated values, one row a step."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from floqzoo.tasks.files import replacing


class MetricLog:
    """Appends rows to a CSV file whose first column is `step`.

    A metric that appears later than the first row gets a column of its own, empty above. Every row is on
    the disk when `write` returns, and the file is whole at any moment.

    - `path`: The file; one that exists is continued.
    """

    def __init__(self, path: Path):
        self.path = path
        self._columns = _header(path)

    def write(self, step: int, metrics: Mapping[str, float | int]) -> None:
        """Appends a row."""
        new = [name for name in metrics if name not in self._columns]
        if new or not self._columns:
            self._widen(new)
        row = [str(step), *(_cell(metrics.get(name)) for name in self._columns[1:])]
        with self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)

    def _widen(self, new: list[str]) -> None:
        rows = _rows(self.path)
        self._columns = [*(self._columns or ["step"]), *new]
        with replacing(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self._columns)
            writer.writerows([*row, *[""] * (len(self._columns) - len(row))] for row in rows[1:])


def read_metrics(path: Path) -> dict[str, Float[np.ndarray, " rows"]]:
    """The columns of a metric log by name; NaN where a row has no value.

    **Raises** `FileNotFoundError` if there is no such file, `ValueError` if it is no metric log.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no metric log at {path}.")
    rows = _rows(path)
    if not rows or rows[0][:1] != ["step"] or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(f"{path} must be a table with a first column `step` and rows of one length.")
    table = np.array([[float(cell or "nan") for cell in row] for row in rows[1:]])
    return dict(zip(rows[0], table.reshape(-1, len(rows[0])).T, strict=True))


def _cell(value: float | int | None) -> str:
    return "" if value is None else repr(float(value))


def _header(path: Path) -> list[str]:
    rows = _rows(path)
    return rows[0] if rows else []


def _rows(path: Path) -> list[list[str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.reader(file))
