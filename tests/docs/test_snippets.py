"""Every snippet marker of a page is intact and names a file, and the page shows the file."""

import re
from pathlib import Path

import pytest
from source_code import expand


ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("docs/**/*.md"))
MARKER = re.compile(r'^ *--8<-- "([^"]+)"$')
ANY_MARKER = re.compile(r"--\s*8\s*(<|&lt;)|(<|&lt;)\s*--\s*(\"|&quot;)")
"""A marker, however a formatter has changed its spaces."""


def markers(text: str) -> list[str]:
    """The lines with a marker, intact or not."""
    return [line for line in text.splitlines() if ANY_MARKER.search(line)]


def test_a_formatted_marker_is_found():
    assert markers('--8 < --"examples/pendulum.py"') and not MARKER.match('--8 < --"examples/pendulum.py"')
    assert MARKER.match('    --8<-- "examples/pendulum.py"')


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_marker_of_a_page_names_a_file(page):
    for line in markers(page.read_text()):
        found = MARKER.match(line)
        assert found, f"`{line}` is not a snippet marker; ruff formats the blocks of `py` and `python`"
        assert (ROOT / found[1]).is_file()


def test_a_file_shown_in_the_docs_has_no_relative_links():
    # A page has another folder than the file that it shows, so such a link breaks in one of the two.
    link = re.compile(r"\]\((?!https?://|#)([^)]*)\)")
    shown = {MARKER.match(line)[1] for page in PAGES for line in markers(page.read_text())}
    relative = {name: link.findall((ROOT / name).read_text()) for name in shown if name.endswith(".md")}
    assert {"CHANGELOG.md", "CONTRIBUTING.md"} <= relative.keys()
    assert not any(relative.values()), relative


def test_there_are_markers():
    assert sum(len(markers(page.read_text())) for page in PAGES) > 3


def test_no_marker_is_in_a_block_that_ruff_formats():
    blocks = re.compile(r"^ *```(?:py|python)\b[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
    assert [page.name for page in PAGES for block in blocks.findall(page.read_text()) if markers(block)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if markers(page.read_text())], ids=lambda page: page.stem)
def test_the_html_of_a_page_has_the_file_and_no_marker(page, monkeypatch):
    markdown = pytest.importorskip("markdown")
    pytest.importorskip("pymdownx")
    monkeypatch.chdir(ROOT)
    extensions = ["attr_list", "pymdownx.details", "pymdownx.highlight", "pymdownx.snippets", "pymdownx.superfences"]
    html = markdown.markdown(expand(page.read_text()), extensions=extensions)
    assert markers(html) == []
    for line in markers(page.read_text()):
        shown = max((ROOT / MARKER.match(line)[1]).read_text().split(), key=len)  # a word, whatever marks it up
        assert re.sub(r"\W", "", shown) in re.sub(r"<[^>]*>|&\w+;|&#\d+;|\W", "", html)
