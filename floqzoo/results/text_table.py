"""Formats tables as plain text."""

import io
from collections.abc import Sequence


def text_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Formats a table below its title, as narrow as its cells allow; there is no header if all column names are
    empty."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=any(columns))
    for column in columns:
        table.add_column(Text(column))
    for row in rows:
        table.add_row(*map(Text, row))
    text = io.StringIO()
    Console(file=text, width=1000).print(table)
    return "".join(f"{line.rstrip()}\n" for line in [title, *text.getvalue().splitlines()])
