"""Includes the source of a function in a page: `{{ source: floqzoo.flow.flow.Flow.matching_loss }}` becomes its code.

The caption is the file and, on the site, the line at which the function starts. A name that does not exist is an error.
"""

import ast
import re
import textwrap
from pathlib import Path


ROOT = Path(__file__).parents[1]
MARK = re.compile(r"^\{\{ source: ([\w.]+) \}\}$", re.MULTILINE)


def on_page_markdown(markdown: str, **_) -> str:
    """Called by MkDocs for each page."""
    return expand(markdown, lines=True)


def expand(markdown: str, *, lines: bool = False) -> str:
    """The page with the source of every function that it includes.

    - `lines`: Whether captions contain line numbers. The notebooks omit them, because every change above a function
      would make the stored notebook out of date.
    """
    return MARK.sub(lambda mark: _fence(mark[1], lines), markdown)


def source_of(name: str) -> str:
    """The code of a function, a method or a class, by its full name, without its docstring.

    **Raises** `LookupError` if there is none of that name.
    """
    path, node = _definition(name)
    lines = path.read_text().splitlines()[node.lineno - 1 : node.end_lineno]
    first = node.body[0]
    if ast.get_docstring(node) is not None and len(node.body) > 1:
        del lines[first.lineno - node.lineno : first.end_lineno - node.lineno + 1]
    return textwrap.dedent("\n".join(lines))


def _definition(name: str) -> tuple[Path, ast.AST]:
    """The file and the syntax tree of a function, a method or a class."""
    path, inner = _file_of(name)
    node: ast.AST = ast.parse(path.read_text())
    for part in inner:
        node = next((child for child in getattr(node, "body", []) if getattr(child, "name", None) == part), None)
        if node is None:
            raise LookupError(f"{path.relative_to(ROOT)} has no {name}.")
    return path, node


def _file_of(name: str) -> tuple[Path, list[str]]:
    """The file of the longest module that is a prefix of the name, and the rest of the name."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        path = ROOT.joinpath(*parts[:end]).with_suffix(".py")
        if path.is_file():
            return path, parts[end:]
    raise LookupError(f"no module contains {name}.")


def _fence(name: str, lines: bool) -> str:
    path, node = _definition(name)
    place = f", line {node.lineno}" if lines else ""
    return f'```py title="{path.relative_to(ROOT)}{place}"\n{source_of(name)}\n```'
