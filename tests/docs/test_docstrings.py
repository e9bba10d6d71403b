"""Docstrings say what the signatures say: they are the pages of the API."""

import ast
import builtins
import importlib
import inspect
import pkgutil
import re
import textwrap
import types
from collections.abc import Iterator

import floqzoo
import floqzoo.export
import floqzoo.learner
import floqzoo.rollout
import floqzoo.runs
import floqzoo.training
import recipes


ITEM = re.compile(r"^- ((?:`\w+`(?:, )?)+): +\S", re.MULTILINE)
PARTS = re.compile(r"floqzoo\.(networks|flow|critics|policies|successor|agent|update_rules|learner|tasks)\.")
RAISES = re.compile(r"\*\*Raises\*\* ((?:[^.]|\.(?!\s))*)")


def modules() -> Iterator[types.ModuleType]:
    """Every module of the project."""
    for package in (floqzoo, recipes):
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


def public_objects() -> dict[str, object]:
    """Every public class, function and method, under its full name."""
    found = {}
    for module in modules():
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(value) or inspect.isfunction(value):
                found[f"{module.__name__}.{name}"] = value
            if inspect.isclass(value):
                for method, function in vars(value).items():
                    function = getattr(function, "__func__", function)
                    if (
                        inspect.isfunction(function)
                        and function.__qualname__ == f"{name}.{method}"
                        and method[0] != "_"
                    ):
                        found[f"{module.__name__}.{name}.{method}"] = function
    return found


OBJECTS = public_objects()
DESCRIBED = {name: value for name, value in OBJECTS.items() if ITEM.search(inspect.getdoc(value) or "")}


def described(value: object) -> list[str]:
    """The names that a docstring lists."""
    return [name for item in ITEM.findall(inspect.getdoc(value) or "") for name in re.findall(r"`(\w+)`", item)]


def arguments(value: object) -> list[str]:
    """What a function takes, or what a class is constructed from."""
    return [name for name in inspect.signature(value).parameters if name not in ("self", "cls")]


def declared(value: object) -> set[str]:
    """The fields of a class, its parents' too."""
    return {name for base in getattr(value, "__mro__", ()) for name in vars(base).get("__annotations__", {})}


def test_there_are_docstrings_to_check():
    assert len(OBJECTS) > 300 and len(DESCRIBED) > 80


def test_every_public_name_says_what_it_is():
    firsts = {name: (inspect.getdoc(value) or "").split("\n\n")[0].rstrip() for name, value in OBJECTS.items()}
    assert {name: first for name, first in firsts.items() if first[-1:] not in (*".:?`$)",)} == {}, "no sentence"


def test_what_is_described_is_in_the_signature_and_once():
    for name, value in DESCRIBED.items():
        names = described(value)
        assert {*names} - {*arguments(value), *declared(value)} == set(), name
        assert len(names) == len(set(names)), name


def test_the_description_of_a_part_leaves_no_argument_out():
    for name, value in DESCRIBED.items():
        if inspect.isclass(value) and PARTS.match(name):
            texts = [inspect.getdoc(base) or "" for base in value.__mro__ if base.__module__.startswith("floqzoo.")]
            named = {*re.findall(r"`(\w+)[`(.]", "".join(texts)), "key"}
            assert {*arguments(value)} - named == set(), name


def test_what_a_function_refuses_is_documented():
    for name, value in OBJECTS.items():
        if not inspect.isfunction(value):
            continue
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(value)))
        if "raise " not in source or "errors_explained" in source:  # a program ends with a message, and raises nothing
            continue
        raised = {
            node.exc.func.id
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
        }
        refused = raised & {"ValueError", "TypeError", "LookupError", "KeyError"}
        text = inspect.getdoc(inspect.unwrap(value)) or ""
        assert {error for error in refused if f"`{error}`" not in text} == set(), name


def test_errors_that_are_documented_exist():
    packages = (floqzoo.export, floqzoo.learner, floqzoo.rollout, floqzoo.runs, floqzoo.tasks, floqzoo.training)
    everywhere = {name: member for package in packages for name, member in vars(package).items()} | vars(builtins)
    for name, value in OBJECTS.items():
        scope = everywhere | vars(importlib.import_module(value.__module__))
        for clause in RAISES.findall(inspect.getdoc(value) or ""):
            for error in re.findall(r"`(\w+Error)`", clause):
                assert issubclass(scope[error], BaseException), f"{name}: {error}"
