"""The help of the recipes: every flag is in it, and the common ones fit a screen of 80 columns."""

import dataclasses

import pytest

from floqzoo.runs import RunConfig, find_recipe
from floqzoo.training.help_text import COMMON, GROUPS, field_docs, full_help, short_help
from recipes import NAMES


def test_every_flag_is_in_one_group():
    grouped = [name for group in GROUPS.values() for name in group]
    assert sorted(grouped) == sorted(field.name for field in dataclasses.fields(RunConfig) if field.name != "agent")
    assert set(grouped) > COMMON


@pytest.mark.filterwarnings("ignore:no settings are published")
@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_a_recipe(name):
    recipe = find_recipe(name)
    config = recipe.presets["default"](None)
    short, full = (write(recipe, "default", config, "recipes/x.py") for write in (short_help, full_help))
    assert len(short.splitlines()) <= 55
    for line in (*short.splitlines(), *full.splitlines()):
        assert len(line) <= 80 or line.startswith("  --")  # a flag with a long value or many choices
    for preset in recipe.presets.values():
        assert (preset.__doc__ or "").splitlines()[0].endswith("."), preset  # the help shows the first line
    settings = [field.name for field in dataclasses.fields(config.agent)]
    assert set(settings) == field_docs(type(config.agent)).keys()
    for field in settings:
        assert f"  --agent.{field} " in full and f"{field}=" in short
    for field in dataclasses.fields(RunConfig):
        if field.name != "agent":
            assert f"  --{field.name} " in full
            assert (f"  --{field.name}=" in short) == (field.name in COMMON)


def test_docs_of_parents_come_first_and_those_of_the_class_win():
    class Parent:
        one: int = 1
        """The first
        number."""
        two: int = 2
        """The second."""

    class Child(Parent):
        two: int = 3
        """Another."""
        three: int = 3

    assert field_docs(Child) == {"one": "The first number.", "two": "Another."}
    assert field_docs(type("NoSource", (), {})) == {}
