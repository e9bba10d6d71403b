"""Every command in the docs has flags that exist, with values of the right type."""

import inspect
import re
import shlex
import warnings
from pathlib import Path

import pytest

from floqzoo.command_line import COMMANDS
from floqzoo.runs import find_recipe
from floqzoo.training.command_line import parse_arguments


ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"^ *```bash\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def commands() -> dict[str, list[str]]:
    """The words of each command of a page, by page and text; continued lines are joined."""
    found = {}
    for page in PAGES:
        # The commands that reproduce papers are checked in `test_reproduce.py`.
        if page.name == "reproduce.md":
            continue
        inline = re.findall(r"`((?:python recipes/|floqzoo )[^`\n]*)`", page.read_text())
        blocks = [line for block in BLOCK.findall(page.read_text()) for line in block.replace("\\\n", " ").splitlines()]
        for line in (*inline, *blocks):
            for command in re.findall(r"(?:python recipes/\w+\.py|\bfloqzoo \w+)[^&|]*", line):
                found[f"{page.relative_to(ROOT)}: {command.strip()}"] = shlex.split(command, comments=True)
    return found


FOUND = commands()
TRAINED = {name: words[1:] for name, words in FOUND.items() if words[:2] == ["floqzoo", "train"] and words[2:]}
RECIPES = {name: words for name, words in FOUND.items() if words[0] == "python"} | TRAINED
SUBCOMMANDS = {
    name: words
    for name, words in FOUND.items()
    if words[0] == "floqzoo" and words[1] in COMMANDS and name not in TRAINED
}


def test_there_are_commands():
    assert len(RECIPES) > 30 and len(SUBCOMMANDS) > 30


@pytest.mark.parametrize("name", RECIPES)
def test_a_command_of_a_recipe_can_be_parsed(name):
    _, program, *words = RECIPES[name]
    words = [word for word in words if word not in ("...", "--help", "--help-all")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an environment without published settings
        parse_arguments(find_recipe(Path(program).stem), words)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_the_flags_of_a_subcommand_exist(name):
    _, command, *words = SUBCOMMANDS[name]
    flags = {word.split("=")[0].lstrip("-").replace("-", "_") for word in words if word.startswith("--")}
    # `from` is a keyword of Python; the parameter of `study` has another name.
    known = {"help", "from"} | {name.rstrip("_") for name in inspect.signature(COMMANDS[command]).parameters}
    if command != "convert":  # each format has flags of its own
        assert flags <= known
