"""Every Python block of the README and of the docs runs, in page order, as a reader would paste it.

The tutorials run as notebooks, whose cells are the blocks of the page; see `test_generated.py`.
"""

import importlib.util
import re
import sys
import textwrap
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
TUTORIALS = set(ROOT.glob("docs/tutorials/*.md"))
CANDIDATES = (ROOT / "README.md", *sorted({*ROOT.glob("docs/**/*.md")} - TUTORIALS))
PAGES = [page for page in CANDIDATES if BLOCK.search(page.read_text())]


# The README is short.
CASES = [
    pytest.param(
        page, marks=[pytest.mark.slow] * ("docs" in page.relative_to(ROOT).parts), id=str(page.relative_to(ROOT))
    )
    for page in PAGES
]


@pytest.mark.parametrize("page", CASES)
def test_every_block_of_the_page_runs(page, tmp_path, monkeypatch, fewer_examples, short_episodes):
    if page.name == "export.md":
        for module in ("onnxruntime", "safetensors"):
            pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)  # what a page writes is thrown away
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "policy_torch", raising=False)  # an exported module, imported by another page
    scope, text = {"__name__": "__main__"}, page.read_text()
    for block in BLOCK.finditer(text):
        if "import torch" in block[2] and importlib.util.find_spec("torch") is None:
            continue  # It is large, and no extra of the tests.
        lines_before = "\n" * text.count("\n", 0, block.start(2))  # so that a traceback shows the page's own line
        with fewer_examples(2), short_episodes():  # of laws, which the parts of a page keep
            exec(compile(lines_before + textwrap.dedent(block[2]), page, "exec"), scope)
