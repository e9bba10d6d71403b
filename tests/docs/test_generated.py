"""The output of `docs/generate.py` is up to date, and the notebooks run from top to bottom."""

import json
import os
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest
from generate import generated
from source_code import expand, on_page_markdown, source_of


ROOT = Path(__file__).parents[2]
# Runs of a tutorial learn something on the page; their test makes a tenth of the updates, with four seeds for eight, and a
# sweep of one trial and one seed less.
FEWER = (
    ("offline_steps: 1500, log_interval: 500, eval_interval: 500, save_interval: 1500", "offline_steps: 150"),
    ("agent.alpha: [0.03, 3.0]", "agent.alpha: 0.03"),
    ("seeds: 2\n", "seeds: 1\n"),
    ("eval_episodes: 5", "eval_episodes: 1"),
    ("offline_steps=2000", "offline_steps=200"),
    ("log_interval=500", "log_interval=50"),
    ("eval_interval=1000", "eval_interval=100"),
    ("eval_episodes=3", "eval_episodes=1"),
    ("seeds=8,", "seeds=4,"),
)
NOTEBOOKS = sorted(ROOT.glob("docs/tutorials/*.ipynb"))


def cells(notebook: Path, kind: str) -> list[str]:
    """The cells of a kind, in order."""
    return [cell["source"] for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("cores", [3, 64])
def test_every_generated_file_is_up_to_date_with_any_number_of_cores(cores, monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    stale = [str(path.relative_to(ROOT)) for path, text in generated().items() if path.read_text() != text]
    assert stale == [], "run `python docs/generate.py`"


def test_every_tutorial_has_a_notebook_and_links_to_it():
    pages = sorted(ROOT.glob("docs/tutorials/*.md"))
    assert [page.with_suffix(".ipynb") for page in pages] == NOTEBOOKS
    for page in pages:
        assert f"({page.stem}.ipynb)" in page.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_has_every_block_of_its_page_and_runs(notebook, tmp_path, monkeypatch, fewer_examples):
    blocks = re.findall(r"^```python\n(.*?)^```$", notebook.with_suffix(".md").read_text(), re.MULTILINE | re.DOTALL)
    code = cells(notebook, "code")
    assert code == [block.rstrip("\n") for block in blocks]
    monkeypatch.chdir(tmp_path)
    code = [reduce(lambda text, pair: text.replace(*pair), FEWER, cell) for cell in code]
    if "run_sweep" in "".join(code):  # Ray forks, which JAX warns of
        done = subprocess.run([sys.executable, "-c", "\n".join(code)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return
    scope = {"__name__": "__main__"}
    with fewer_examples(2):  # of laws, which the parts of a page keep
        for number, cell in enumerate(code):
            exec(compile(cell, f"{notebook.name}, cell {number}", "exec"), scope)


def test_a_page_shows_the_source_as_it_stands():
    shown = source_of("floqzoo.flow.flow.Flow.matching_loss")
    lines = (ROOT / "floqzoo" / "flow" / "flow.py").read_text()
    assert all(line.strip() in lines for line in shown.splitlines())
    assert shown.startswith("def matching_loss(self") and '"""' not in shown
    assert expand("a\n{{ source: floqzoo.flow.flow.Flow.matching_loss }}\nb").splitlines()[2:-2] == shown.splitlines()


def test_the_caption_of_a_source_is_its_file_and_on_the_site_also_its_line():
    mark = "{{ source: floqzoo.flow.flow.Flow.matching_loss }}"
    (line,) = (
        number
        for number, text in enumerate((ROOT / "floqzoo" / "flow" / "flow.py").read_text().splitlines(), 1)
        if text.startswith("    def matching_loss(")
    )
    assert on_page_markdown(mark).startswith(f'```py title="floqzoo/flow/flow.py, line {line}"\n')
    assert expand(mark).startswith('```py title="floqzoo/flow/flow.py"\n')


@pytest.mark.parametrize("name", ["floqzoo.flow.flow.Flow.gone", "floqzoo.flow.nowhere.Flow", "nothing.at.all"])
def test_a_page_cannot_show_what_is_not_there(name):
    with pytest.raises(LookupError):
        expand(f"{{{{ source: {name} }}}}")
