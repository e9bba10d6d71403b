"""Writes what the documentation says more than once from where it is said first: `python docs/generate.py`.

- `api/protocols.md`: the sockets with the laws of each, from `floqzoo.protocols` and `floqzoo.testing`;
- `guides/reproduce.md`: commands and published settings, from the recipes, with the results in `results.csv`;
- `tutorials/*.ipynb`: the tutorials as notebooks.

What it writes is committed, and a test holds it to what it would write now.
"""

from pathlib import Path

from notebooks import notebook_of
from protocols_page import protocols_page
from reproduce_page import reproduce_page


DOCS = Path(__file__).parent


def generated() -> dict[Path, str]:
    """The text of every file that is written."""
    pages = {
        DOCS / "api" / "protocols.md": protocols_page(),
        DOCS / "guides" / "reproduce.md": reproduce_page(DOCS / "results.csv"),
    }
    for page in sorted((DOCS / "tutorials").glob("*.md")):
        pages[page.with_suffix(".ipynb")] = notebook_of(page)
    return pages


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text)
        print(path.relative_to(DOCS.parent))
