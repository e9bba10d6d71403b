"""Which public classes satisfy each protocol, and which recipes use them."""

import dataclasses
import importlib
import inspect
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import numpy as np
from reproduce_page import DATASETS, task_of

from floqzoo.runs.recipe import agent_builder, find_recipe, small_observation_dim
from recipes import NAMES


PACKAGES = (
    "networks",
    "flow",
    "critics",
    "policies",
    "successor",
    "update_rules",
    "phased_update",
    "agent",
    "learner",
    "tasks",
    "runs",
    "sweeps",
)
"""The packages and modules whose public classes are parts, in the order of the tables."""
LAZY = {"flow": ("DiffraxSolver",)}
"""Names that a package imports at their first use."""
COINCIDENCES = {
    ("Flow", "NoisePrior"),
    ("LinearGaussian", "NoisePrior"),
    ("Ring", "NoisePrior"),
    ("LinearGaussian", "NoisyCritic"),
    ("Ring", "NoisyCritic"),
    ("Agent", "Exploring"),
}
"""Classes that have the methods of a protocol, but are not meant as parts of it."""


@cache
def public_names() -> dict[str, Any]:
    """Every public class and function of the packages, by the name that the pages link to."""
    found: dict[Any, str] = {}
    for package in PACKAGES:
        module = importlib.import_module(f"floqzoo.{package}")
        for name in (*_names(module), *LAZY.get(package, ())):
            member = getattr(module, name)
            if inspect.isclass(member) or inspect.isfunction(member):
                path = f"{module.__name__}.{name}"
                # A function in a file with the same name is linked to in this file.
                found.setdefault(member, f"{path}.{name}" if member.__module__ == path else path)
    return {name: member for member, name in found.items()}


@cache
def public_classes() -> dict[str, type]:
    """Those that are classes, and neither abstract nor a protocol."""
    return {
        name: part
        for name, part in public_names().items()
        if inspect.isclass(part) and not inspect.isabstract(part) and not getattr(part, "_is_protocol", False)
    }


def _names(module: ModuleType) -> list[str]:
    """The public names of a package, or of a module those that it defines."""
    names = [name for name in dir(module) if not name.startswith("_")]
    if hasattr(module, "__path__"):
        return names
    return [name for name in names if getattr(getattr(module, name), "__module__", None) == module.__name__]


def satisfies(part: type, protocol: type) -> bool:
    """Whether a class has every method and attribute of a protocol; an annotated field is an attribute."""
    fields = {name for base in part.__mro__ for name in vars(base).get("__annotations__", {})}
    return all(hasattr(part, name) or name in fields for name in members_of(protocol))


def members_of(protocol: type) -> set[str]:
    """The names that a class must have to satisfy a protocol."""
    bases = [base for base in protocol.__mro__ if getattr(base, "_is_protocol", False) and base.__module__ != "typing"]
    names = {name for base in bases for name in (*vars(base), *vars(base).get("__annotations__", {}))}
    return {name for name in names if not name.startswith("_")}


def parts_of(protocol: type) -> dict[str, type]:
    """The public classes that satisfy a protocol, by name."""
    found = {name: part for name, part in public_classes().items() if satisfies(part, protocol)}
    return {name: part for name, part in found.items() if (part.__name__, protocol.__name__) not in COINCIDENCES}


@cache
def recipes_using() -> dict[type, tuple[str, ...]]:
    """For each class, the recipes whose agents or batch sources contain an instance of it, for any preset and published
    setting."""
    found: dict[type, dict[str, None]] = {}
    for name in NAMES:
        for part in _types_of_recipe(name):
            found.setdefault(part, {})[name] = None
    return {part: tuple(names) for part, names in found.items()}


def _types_of_recipe(name: str) -> set[type]:
    recipe, types = find_recipe(name), set()
    for agent_settings, configs in _settings(recipe).items():
        dim = small_observation_dim(agent_settings)
        build = agent_builder(recipe, agent_settings, observation_dim=dim, action_dim=2, reward_range=(-1.0, 0.0))
        agent = eqx.filter_eval_shape(
            lambda seed, build=build: build(jax.random.key(seed)), jax.ShapeDtypeStruct((), np.uint32)
        )
        types |= {type(part) for part in _walk(agent)}
        for config in configs:
            sources = (recipe.batch_source(config, online) for online in (False, config.online_steps > 0))
            types |= {type(part) for source in sources for part in _walk(source)}
    return types


def _settings(recipe: Any) -> dict[Any, list[Any]]:
    """The different agent settings of all presets and environments, each with the runs that have them."""
    tasks = (None, *(task_of(environment, 1) for environment in DATASETS))
    found: dict[Any, list[Any]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an environment without published settings
        for preset in recipe.presets.values():
            for task in tasks:
                config = preset(task)
                found.setdefault(_choices(config.agent), []).append(config)
    return {configs[0].agent: configs for configs in found.values()}


def _choices(settings: Any) -> tuple:
    """The settings that may select a part: names, switches, and whether a count is above 1."""
    values = dataclasses.asdict(settings)
    return tuple(
        (name, value > 1 if type(value) is int else value)
        for name, value in values.items()
        if isinstance(value, str | int | None)
    )


def _walk(part: Any) -> Iterator[Any]:
    """A part and everything that it contains."""
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        yield part
        for field in dataclasses.fields(part):
            yield from _walk(getattr(part, field.name, None))
    elif isinstance(part, tuple | list):
        for each in part:
            yield from _walk(each)


def part_table(protocol: type) -> str:
    """A table of the parts of a protocol and the recipes that use each; empty if there is no part."""
    parts = parts_of(protocol)
    if not parts:
        return ""
    rows = ["| part | recipes that use it |", "|---|---|"]
    for name, part in parts.items():
        rows.append(f"| [`{part.__name__}`][{name}] | {_listed(recipes_using().get(part, ()))} |")
    return "\n".join(rows)


def _listed(recipes: tuple[str, ...]) -> str:
    """The recipes with links; the exceptions if there are only a few."""
    others = [name for name in NAMES if name not in recipes]
    if not others:
        return "all"
    if len(others) <= 3:
        return f"all but {_links(others)}"
    return _links(recipes) or "–"


def _links(recipes: Iterable[str]) -> str:
    return ", ".join(f"[{title_of(recipe)}](../recipes/{recipe}.md)" for recipe in recipes)


def title_of(recipe: str) -> str:
    """The name of a method: the heading of its page."""
    heading, *_ = (Path(__file__).parent / "recipes" / f"{recipe}.md").read_text().split("\n")
    return heading.removeprefix("# ")
