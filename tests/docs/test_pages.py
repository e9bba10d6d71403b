"""Pages refer to names that exist, and every public name is on a page."""

import importlib
import re
import types
import typing
from pathlib import Path

import pytest

import floqzoo
from floqzoo import protocols


DOCS = Path(__file__).parents[2] / "docs"
DIRECTIVE = re.compile(r"^::: (\S+)\n((?:    .*\n?)*)", re.MULTILINE)
REFERENCE = re.compile(r"\[`?([^\]`]*)`?\]\[(floqzoo[\w.]*)\]")
PACKAGES = (
    "networks",
    "flow",
    "critics",
    "policies",
    "successor",
    "tasks",
    "learner",
    "rollout",
    "runs",
    "training",
    "results",
    "export",
    "sweeps",
    "testing",
)


def look_up(name: str) -> object:
    """What a dotted name stands for."""
    module, parts = name, []
    while True:
        try:
            found = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            module, _, part = module.rpartition(".")
            parts.insert(0, part)
    for part in parts:
        found = member(found, part)
    return found


def member(owner: object, name: str) -> object:
    """An attribute, or a field that a class declares."""
    if hasattr(owner, name):
        return getattr(owner, name)
    declared = [base.__annotations__ for base in getattr(owner, "__mro__", ()) if "__annotations__" in vars(base)]
    assert any(name in fields for fields in declared), f"{owner} has no {name}"
    return name


def public_names(module: types.ModuleType) -> set[str]:
    """What a module exports, other modules and names of `typing` left out."""
    names = {name for name, value in vars(module).items() if name[0] != "_" and not isinstance(value, types.ModuleType)}
    return names - vars(typing).keys()


def documented() -> dict[str, set[str]]:
    """For each name that an API page lets mkdocstrings render, which of its members; all of them for none."""
    found: dict[str, set[str]] = {}
    for page in (DOCS / "api").glob("*.md"):
        for name, options in DIRECTIVE.findall(page.read_text()):
            named = re.search(r"members: \[(.*)\]", options)
            whole = public_names(look_up(name)) if isinstance(look_up(name), types.ModuleType) else set()
            found.setdefault(name, set()).update(named[1].split(", ") if named else whole)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_of_a_package_is_on_an_api_page(package):
    module = importlib.import_module(f"floqzoo.{package}")
    pages = documented()
    elsewhere = {name.rpartition(".")[2] for name in pages if name.startswith(f"floqzoo.{package}.")}
    assert public_names(module) - pages[f"floqzoo.{package}"] - elsewhere == set()
    assert pages[f"floqzoo.{package}"] <= public_names(module)


def test_every_name_of_the_package_is_on_an_api_page():
    pages = documented()
    shown = {name for owner, members in pages.items() for name in {owner.rpartition(".")[2], *members}}
    names = {name for name in floqzoo.__all__ if not isinstance(getattr(floqzoo, name), types.ModuleType)}
    assert len(names) > 80
    assert names - {"__version__"} <= shown


def test_every_study_is_in_the_table_of_studies():
    page = (DOCS / "api" / "studies.md").read_text()
    programs = [p.stem for p in Path(floqzoo.__file__).parent.glob("studies/*.py") if "__main__" in p.read_text()]
    assert [name for name in programs if f"[floqzoo.studies.{name}]" not in page] == []


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_every_name_that_a_page_refers_to_exists(page):
    for _, target in REFERENCE.findall(page.read_text()):
        look_up(target)


def test_every_name_in_the_glossary_exists():
    references = REFERENCE.findall((DOCS / "glossary.md").read_text())
    assert len(references) > 40
    for text, target in references:
        owner = look_up(target)
        if isinstance(owner, types.ModuleType):
            member(owner, text)
            continue
        name, _, attribute = text.partition(".")
        assert name == target.rpartition(".")[2], f"{text} links to {target}"
        if attribute:
            member(owner, attribute)


def test_every_protocol_is_on_the_architecture_page():
    page = (DOCS / "architecture.md").read_text()
    names = {name for name, member in vars(protocols).items() if getattr(member, "_is_protocol", False)}
    linked = set(re.findall(r"floqzoo\.protocols\.(\w+)", page))
    assert linked == names - {"Protocol"}


def test_every_protocol_is_on_its_page():
    page = (DOCS / "api" / "protocols.md").read_text()
    names = {name for name, member in vars(protocols).items() if getattr(member, "_is_protocol", False)}
    assert set(re.findall(r"^::: floqzoo\.protocols\.(\w+)$", page, re.MULTILINE)) == names - {"Protocol"}


def test_every_page_is_in_the_navigation():
    navigation = (DOCS.parent / "mkdocs.yml").read_text()
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    assert [page for page in pages if f": {page}" not in navigation] == []
