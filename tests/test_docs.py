"""Every Python block of the README and of the docs runs, in page order, as a reader would paste it."""

import re
import textwrap
from pathlib import Path

import pytest

from floqzoo import protocols


ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
PAGES = [page for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))) if BLOCK.search(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what a page writes is thrown away
    scope, text = {"__name__": "__main__"}, page.read_text()
    for block in BLOCK.finditer(text):
        lines_before = "\n" * text.count("\n", 0, block.start(2))  # so that a traceback shows the page's own line
        exec(compile(lines_before + textwrap.dedent(block[2]), page, "exec"), scope)


def test_every_socket_stands_on_the_architecture_page():
    page = (ROOT / "docs" / "architecture.md").read_text()
    sockets = {name for name, member in vars(protocols).items() if getattr(member, "_is_protocol", False)}
    linked = set(re.findall(r"floqzoo\.protocols\.(\w+)", page))
    assert linked == sockets - {"Protocol"}
