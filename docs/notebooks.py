"""Tutorials as notebooks: each Python block of the page becomes a code cell, and the rest text cells."""

import json
import re
from pathlib import Path

from source_code import expand


BLOCK = re.compile(r"^```python\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


def notebook_of(page: Path) -> str:
    """The notebook of a page, as JSON."""
    text, end, cells = expand(page.read_text()), 0, []
    for block in BLOCK.finditer(text):
        cells += [_text_cell(text[end : block.start()]), _code_cell(block[1])]
        end = block.end()
    cells.append(_text_cell(text[end:]))
    kept = [cell | {"id": f"cell-{number}"} for number, cell in enumerate(cell for cell in cells if cell["source"])]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": kept, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _text_cell(text: str) -> dict:
    text = re.sub(r"\]\[(floqzoo[\w.]*)\]", r"]", text)  # a link by name needs the site's index
    text = re.sub(r"\[(`[^`\]]+`)\](?![(\[])", r"\1", text)
    text = re.sub(r"\{ width=\"\d+\" \}", "", text)
    return {"cell_type": "markdown", "metadata": {}, "source": text.strip()}


def _code_cell(code: str) -> dict:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": code.rstrip("\n"),
    }
