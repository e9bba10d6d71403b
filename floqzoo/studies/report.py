"""Writes, reads and prints the tables of studies, as CSV, text and Markdown."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np

from floqzoo.tasks.files import replacing


Row = TypeVar("Row")


def write_rows(rows: Sequence[Any], path: Path) -> Path:
    """Writes dataclass instances to a CSV file, one row each, and returns the path of the file.

    **Raises** `ValueError` if there are no rows.
    """
    text = csv_table(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text)
    return path


def csv_table(rows: Sequence[Any]) -> str:
    """Formats dataclass instances as CSV, one row each, with the names of their fields as the header.

    **Raises** `ValueError` if there are no rows.
    """
    if not rows:
        raise ValueError("`rows` must contain at least one row; got none.")
    table, text = [asdict(row) for row in rows], io.StringIO()
    writer = csv.DictWriter(text, table[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def read_rows(path: Path) -> list[dict[str, str]]:
    """Reads the rows of a CSV file as dictionaries of strings."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_table(kind: type[Row], path: Path) -> list[Row]:
    """Reads dataclass instances from a CSV file that `write_rows` wrote; each field must be a string or a number.

    **Raises** `FileNotFoundError` if the file does not exist, `ValueError` if its columns are not the fields of `kind`
    or if it has no rows.
    """
    rows, types = read_rows(path), get_type_hints(kind)
    if not rows or list(rows[0]) != list(types):
        found = f"it has the columns {', '.join(rows[0])}" if rows else "it has no row"
        raise ValueError(f"{path} must have the columns {', '.join(types)} and at least one row; {found}.")
    return [kind(**{name: types[name](text) for name, text in row.items()}) for row in rows]


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Formats a table as Markdown."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table to standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 160  # files have no width limit
    console.print(table)


def number(value: float) -> str:
    """Formats a number with three significant digits."""
    return f"{value:.3g}"


@dataclass(frozen=True)
class Mean:
    """A mean and its standard error."""

    mean: float
    error: float

    def __str__(self) -> str:
        """Formats the mean and its error, each with three significant digits."""
        return f"{number(self.mean)} ± {number(self.error)}"


def mean_of(values: Sequence[float] | np.ndarray) -> Mean:
    """Computes the mean of independent values and its standard error, which is NaN for a single value."""
    array = np.asarray(values, dtype=float)
    return Mean(float(array.mean()), float(array.std(ddof=1) / len(array) ** 0.5) if len(array) > 1 else float("nan"))
