"""Reads the settings of a run from its `flags.json`, and checks the type of each setting."""

import dataclasses
import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.recipe import Recipe


Settings = TypeVar("Settings")


def config_from_flags(recipe: Recipe, flags: Mapping[str, Any]) -> RunConfig:
    """Reads the settings of a run from the contents of its `flags.json`.

    Each value is checked against the type annotation of its field. Nothing that the file names is imported or executed.
    A missing setting takes its default.

    - `recipe`: The recipe of the run.
    - `flags`: The contents of `flags.json`.

    **Raises** `ValueError` if the run was made by another recipe, if a setting is unknown, of the wrong type or out of
    range, or if a setting without a default is missing. This can happen with runs of other versions.
    """
    if flags.get("recipe") != recipe.name:
        raise ValueError(f"the run was made by the recipe {flags.get('recipe')!r}; got the recipe {recipe.name!r}.")
    settings = {name: value for name, value in flags.items() if name != "recipe"}
    agent_type = type(recipe.presets["default"](None).agent)
    _check_names("", RunConfig, settings)
    agent = read_value("agent", agent_type, settings.pop("agent"))
    hints = get_type_hints(RunConfig)
    return RunConfig(agent=agent, **{name: read_value(name, hints[name], value) for name, value in settings.items()})


def _settings(where: str, kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    _check_names(f"{where}.", kind, values)
    hints = get_type_hints(kind)
    return kind(**{name: read_value(f"{where}.{name}", hints[name], value) for name, value in values.items()})


def _check_names(where: str, kind: type, given: Iterable[str]) -> None:
    """Checks the names of settings. A setting that was added to floqzoo after the run takes its default, which
    reproduces the old behaviour."""
    known = {field.name: field for field in dataclasses.fields(kind) if field.init}  # pyright: ignore[reportArgumentType]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; the nearest known setting is `{where}{near[0]}`" if near else ""
            raise ValueError(f"the run has a setting `{where}{name}`, which this version does not know{hint}.")
    for name, field in known.items():
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in given and not has_default:
            raise ValueError(f"the run has no setting `{where}{name}`, which this version needs.")


def read_value(name: str, kind: Any, value: Any) -> Any:
    """Converts a JSON value to the type that an annotation requires, such as a list to a tuple or an integer to a
    float.

    - `name`: The name of the value, for error messages.
    - `kind`: The annotation.
    - `value`: The JSON value.

    **Raises** `ValueError` if the value is not of the required type.
    """
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        return _settings(name, kind, value)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _read_union(name, kind, value)
    if origin is Literal and value in arguments and type(value) in map(type, arguments):
        return value
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        if len(kinds) == len(value):
            pairs = enumerate(zip(kinds, value, strict=True))
            return tuple(read_value(f"{name}[{index}]", inner, item) for index, (inner, item) in pairs)
    if kind is type(None) and value is None:
        return None
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind in (int, bool, str) and type(value) is kind:
        return value
    raise ValueError(f"`{name}` must be {getattr(kind, '__name__', kind)} in the flags of the run; it is {value!r}.")


def _read_union(name: str, kind: Any, value: Any) -> Any:
    for member in get_args(kind):
        try:
            return read_value(name, member, value)
        except ValueError:
            continue
    raise ValueError(f"`{name}` must be {kind} in the flags of the run; it is {value!r}.")
