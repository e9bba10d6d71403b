"""Writes the pages that repeat the code: `python docs/generate.py`.

- `api/protocols.md`: the protocols with the laws and the parts of each, and the recipes that use each part;
- `api/defaults.md`: the default of each argument;
- `README.md`: its table of claims;
- `guides/measured.md`: claims about flow matching, from the studies and their measurements in `studies/`;
- `guides/comparison.md`: the small comparison of all methods, from the scores and costs in `comparison/`;
- `guides/running.md`: its tables of flags, from the settings of a run;
- `guides/reproduce.md`: commands and published settings, from the recipes, with the results in `results.csv`;
- `tutorials/*.ipynb`: the tutorials as notebooks.

The files are committed, and a test fails if they are out of date. `draw_figures.py` draws the figures.
"""

from pathlib import Path

from claims_page import claims_page, readme_with_claims
from comparison_page import comparison_page
from defaults_page import defaults_page
from flags_table import page_with_flags
from notebooks import notebook_of
from protocols_page import protocols_page
from reproduce_page import reproduce_page


DOCS = Path(__file__).parent


def generated() -> dict[Path, str]:
    """The text of each file."""
    pages = {
        DOCS / "api" / "protocols.md": protocols_page(),
        DOCS / "api" / "defaults.md": defaults_page(),
        DOCS.parent / "README.md": readme_with_claims(DOCS.parent / "README.md", DOCS / "studies"),
        DOCS / "guides" / "measured.md": claims_page(DOCS / "studies"),
        DOCS / "guides" / "comparison.md": comparison_page(DOCS / "comparison"),
        DOCS / "guides" / "running.md": page_with_flags(DOCS / "guides" / "running.md"),
        DOCS / "guides" / "reproduce.md": reproduce_page(DOCS / "results.csv"),
    }
    for page in sorted((DOCS / "tutorials").glob("*.md")):
        pages[page.with_suffix(".ipynb")] = notebook_of(page)
    return pages


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text)
        print(path.relative_to(DOCS.parent))
