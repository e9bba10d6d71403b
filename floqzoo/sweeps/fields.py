"""Reads and sets the settings of a run by dotted name, as on the command line: `offline_steps`, `agent.alpha`."""

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from floqzoo.runs.setting_types import read_value


def field_kinds(settings: Any) -> dict[str, Any]:
    """Returns the type annotation of each setting, by dotted name."""
    hints, kinds = get_type_hints(type(settings)), {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            kinds |= {f"{field.name}.{name}": kind for name, kind in field_kinds(value).items()}
        elif field.init:
            kinds[field.name] = hints[field.name]
    return kinds


def field_values(settings: Any) -> dict[str, Any]:
    """Returns the value of each setting, by dotted name."""
    values = {}
    for name in field_kinds(settings):
        value = settings
        for part in name.split("."):
            value = getattr(value, part)
        values[name] = value
    return values


def read_field(name: str, kind: Any, value: Any) -> Any:
    """Converts a value from a sweep file to the type of a setting, such as a list to a tuple, or an integer to a float.

    **Raises** `ValueError` if the value cannot be converted to this type.
    """
    try:
        return read_value(name, kind, value)
    except ValueError as error:
        if "tuple" not in str(kind) or isinstance(value, list):
            raise
        hint = "A list is read as alternatives to try, so write a single tuple as a nested list: [[512, 512]]."
        raise ValueError(f"{error} {hint}") from None


def with_fields(settings: Any, values: Mapping[str, Any]) -> Any:
    """Returns a copy of the settings with all given values set at once, so that they are validated together.

    **Raises** `ValueError` if a dataclass rejects the values.
    """
    own = {name: value for name, value in values.items() if "." not in name}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if "." in name:
            head, _, rest = name.partition(".")
            nested.setdefault(head, {})[rest] = value
    inner = {head: with_fields(getattr(settings, head), changes) for head, changes in nested.items()}
    return dataclasses.replace(settings, **own, **inner)


def as_words(name: str, value: Any) -> list[str]:
    """Returns the command-line arguments that set a field of a recipe."""
    if isinstance(value, tuple):
        return [f"--{name}", *map(str, value)]
    return [f"--{name}={value}"]
