"""Every public name of `floqzoo` has an example on a page of the API, which `test_blocks.py` runs."""

import ast
import re
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
STUB = ast.parse((ROOT / "floqzoo" / "__init__.pyi").read_text())
NAMES = [a.asname or a.name for node in ast.walk(STUB) if isinstance(node, ast.ImportFrom) for a in node.names]
BLOCKS = "".join(
    block
    for page in (*ROOT.glob("docs/api/*.md"), *ROOT.glob("docs/guides/*.md"))
    for block in re.findall(r"^ *```python\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL)
)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__version__"])
def test_the_name_has_an_example(name):
    assert re.search(rf"\b{name}\b", BLOCKS), f"no Python block of docs/api or docs/guides uses {name}"
