"""`floqzoo methods`."""

import pytest

import recipes
from floqzoo import command_line
from floqzoo.commands.methods import method_row


def test_a_row_names_parts_source_and_presets():
    name, page, parts, presets = method_row("iql")
    assert (name, parts) == ("iql", "IQLCritic, AWRPolicy")
    assert page.startswith("IQL: ") and "arXiv 2110.06169" in page
    assert presets == "default, online, quickstart, visual"


@pytest.mark.slow
def test_every_recipe_is_listed(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["floqzoo", "methods"])
    command_line.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("│")] == list(recipes.NAMES)
