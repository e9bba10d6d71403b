"""Formats comparisons as tables, in plain text, Markdown or CSV."""

import math
from pathlib import Path

from floqzoo.results.compare import IMPROVEMENT, IQM, MEAN, ComparedRow, Comparison
from floqzoo.results.reference_scores import ReferenceGroup
from floqzoo.results.text_table import text_table
from floqzoo.studies.report import csv_table, markdown_table
from floqzoo.tasks.files import replacing


def write_table(comparison: Comparison, format: str = "text", out: str | Path | None = None) -> None:
    """Writes a comparison to a file, or to standard output if `out` is None.

    - `format`: "text", "markdown" or "csv". Text and Markdown end with the notes of the comparison.
    - `out`: The output file; its folder is created if it does not exist.

    **Raises** `ValueError` if the format is none of these.
    """
    texts = {"text": comparison_text, "markdown": comparison_markdown, "csv": comparison_csv}
    if format not in texts:
        raise ValueError(f"`format` must be one of {', '.join(texts)}; got {format!r}.")
    text = texts[format](comparison)
    if out is None:
        print(text, end="")
        return
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text)
    print(f"table: {path}")


def comparison_text(comparison: Comparison) -> str:
    """Formats a comparison as text for a terminal, followed by its notes."""
    tables = [text_table(title, columns, rows) for title, columns, rows in _tables(comparison)]
    return "".join([*tables, *(f"note: {note}\n" for note in comparison.notes)])


def comparison_markdown(comparison: Comparison) -> str:
    """Formats a comparison as Markdown, followed by its notes."""
    parts = [f"{title}\n\n{markdown_table(columns, rows)}" for title, columns, rows in _tables(comparison)]
    return "\n\n".join([*parts, *(f"Note: {note}" for note in comparison.notes)]) + "\n"


def comparison_csv(comparison: Comparison) -> str:
    """Formats the rows of a comparison as CSV without rounding; `read_comparison` can read the result."""
    return csv_table(comparison.rows)


def _tables(comparison: Comparison) -> list[tuple[str, list[str], list[list[str]]]]:
    scale, unit = (100.0, " (%)") if comparison.metric.endswith("/success") else (1.0, "")
    interval = f"{100 * comparison.confidence:g} % interval"
    iqm = {(row.task, row.method): row for row in comparison.of(IQM)}
    scores = [
        [row.task, row.method, str(row.seeds), _shown(row, scale), _shown(iqm[row.task, row.method], scale)]
        for row in comparison.of(MEAN)
    ]
    columns = ["task", "method", "seeds", f"mean [{interval}]", f"interquartile mean [{interval}]"]
    tables = [(f"{comparison.metric}{unit}", columns, _once(scores))]
    better = [[row.task, row.method, row.over, _shown(row, 1.0)] for row in comparison.of(IMPROVEMENT)]
    if better:
        columns = ["task", "method", "over", f"probability [{interval}]"]
        tables.append(("Probability of improvement", columns, _once(better)))
    if comparison.reference:
        columns = ["environment", "method", "steps", "seeds", "score", "source", "protocol"]
        lines = [line for group in comparison.reference for line in _reference_lines(group, scale)]
        tables.append((f"Reference scores{unit}", columns, _once(lines)))
    return tables


def _reference_lines(group: ReferenceGroup, scale: float) -> list[list[str]]:
    """One line for each step of a group: the mean over its seeds, or the mean and spread of the source."""
    lines = []
    for (step, mean), (_, scores) in zip(group.curve, group.points, strict=True):
        spread = scores[0].spread if len(scores) == 1 else None
        shown = f"{scale * mean:.4g}" + ("" if spread is None else f" ± {scale * spread:.4g}")
        seeds = "" if scores[0].seed is None else str(len(scores))
        lines.append([group.environment, group.method, f"{step:,}", seeds, shown, group.source, group.protocol])
    return lines


def _shown(row: ComparedRow, scale: float) -> str:
    def number(value: float) -> str:
        return f"{value:.2f}" if scale == 1.0 and abs(value) <= 1 else f"{value:.1f}" if scale > 1 else f"{value:.4g}"

    if math.isnan(row.low):
        return f"{number(scale * row.value)} [-]"
    return f"{number(scale * row.value)} [{number(scale * row.low)}, {number(scale * row.high)}]"


def _once(rows: list[list[str]]) -> list[list[str]]:
    """The rows, with each task's name in the first of its rows only."""
    return [[row[0] if index == 0 or rows[index - 1][0] != row[0] else "", *row[1:]] for index, row in enumerate(rows)]
