"""Converts settings to the types of their annotations, whether they come from a caller or from a file."""

import dataclasses
import difflib
import inspect
import os
import reprlib
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints


Settings = TypeVar("Settings")
Class = TypeVar("Class", bound=type)


def convert_settings(settings: Any) -> None:
    """Converts the fields of a dataclass to the types of their annotations; to be called in its `__post_init__`.

    NumPy scalars and arrays without axes become Python numbers, lists and one-dimensional arrays become tuples, a
    `Path` becomes a string, and an integer becomes a float where the annotation says float. Only fields of type
    bool, int, float, str, None or `Literal`, and tuples and unions of these, are converted and checked.

    **Raises** `ValueError` for a value of another type, or one that is not among the choices of a `Literal`; the
    message starts with the name of the field.
    """
    hints = get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        if field.init and _is_plain(hints[field.name]):
            value = read_value(field.name, hints[field.name], getattr(settings, field.name))
            object.__setattr__(settings, field.name, value)  # the dataclass may be frozen


def unhooked(kind: Class) -> Class:
    """Exempts the constructor of a dataclass that calls `convert_settings` from run-time type checks; a decorator.

    The import hook of jaxtyping would check the arguments before they are converted. The decorator removes the
    annotations of the constructor, because the hook ignores a constructor without annotations.
    """
    kind.__signature__ = inspect.signature(kind)  # still with annotations, for `help`
    kind.__init__.__annotations__ = {}
    return kind


def _is_plain(kind: Any) -> bool:
    if get_origin(kind) in (tuple, Union, UnionType):
        return all(_is_plain(inner) for inner in get_args(kind))
    return get_origin(kind) is Literal or kind in (bool, int, float, str, NoneType, ...)


def read_value(name: str, kind: Any, value: Any) -> Any:
    """Converts a value of Python, NumPy or JSON to the type that an annotation requires, such as a list to a tuple, an
    integer to a float, or a mapping to a dataclass.

    - `name`: The name of the value, for error messages.
    - `kind`: The annotation.
    - `value`: The value.

    **Raises** `ValueError` if the value is not of the required type.
    """
    if hasattr(value, "tolist"):  # an array or a scalar of NumPy or JAX
        value = value.tolist()
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        return read_settings(kind, value, f"{name}.")
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        for member in arguments:
            try:
                return read_value(name, member, value)
            except ValueError:
                continue
    if origin is Literal and value in arguments and type(value) in map(type, arguments):
        return value
    if origin is tuple and isinstance(value, list | tuple):
        kinds = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        if len(kinds) == len(value):
            pairs = enumerate(zip(kinds, value, strict=True))
            return tuple(read_value(f"{name}[{index}]", inner, item) for index, (inner, item) in pairs)
    if kind in (int, float) and isinstance(value, int | kind) and not isinstance(value, bool):
        return kind(value)
    if kind is str and isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if kind in (bool, NoneType) and isinstance(value, kind):
        return value
    raise ValueError(f"`{name}` must be {_required(kind)}; got {' '.join(reprlib.repr(value).split())}.")


def _required(kind: Any) -> str:
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    choices = [choice for member in members if get_origin(member) is Literal for choice in get_args(member)]
    if choices:
        return f"one of {', '.join(map(str, choices))}"
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def read_settings(
    kind: type[Settings], values: Mapping[str, Any], prefix: str = "", hints: Mapping[str, Any] | None = None
) -> Settings:
    """Builds a dataclass from JSON values. A setting that was added to floqzoo after the run was made takes its default, which
    reproduces the old behaviour.

    - `prefix`: A prefix of the names in error messages, such as "agent.".
    - `hints`: Annotations that replace those of the dataclass.

    **Raises** `ValueError` if a setting is unknown, of the wrong type or out of range, or if a setting without a default
    is missing.
    """
    _check_names(prefix, kind, values)
    kinds = {**get_type_hints(kind), **(hints or {})}
    return kind(**{name: read_value(f"{prefix}{name}", kinds[name], value) for name, value in values.items()})


def _check_names(prefix: str, kind: type, given: Iterable[str]) -> None:
    known = {field.name: field for field in dataclasses.fields(kind) if field.init}  # pyright: ignore[reportArgumentType]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; the nearest known setting is `{prefix}{near[0]}`" if near else ""
            raise ValueError(f"the run has a setting `{prefix}{name}`, which this version does not know{hint}.")
    for name, field in known.items():
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in given and not has_default:
            raise ValueError(f"the run has no setting `{prefix}{name}`, which this version needs.")
