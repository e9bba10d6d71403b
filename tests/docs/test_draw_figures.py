"""Every figure of the documentation is shown, and can be drawn again."""

import re

import pytest
from draw_figures import DOCS, STORED, TRAINED


LINK = re.compile(r"!\[[^\]]+\]\(([\w./-]+)\.png\)")


def test_every_figure_is_shown_on_a_page_and_has_what_draws_it():
    files = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.png")}
    assert files == STORED.keys() | TRAINED.keys() and not STORED.keys() & TRAINED.keys()
    shown = {(page.parent / link).resolve() for page in DOCS.rglob("*.md") for link in LINK.findall(page.read_text())}
    assert shown == {(DOCS / name).resolve() for name in files}


@pytest.mark.slow
@pytest.mark.parametrize("name", STORED)
def test_a_stored_figure_is_drawn_from_its_data(name, tmp_path):
    STORED[name](DOCS / name, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
