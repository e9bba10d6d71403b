"""The page of defaults: the value that each argument has when it is left out."""

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import numpy as np
from flags_table import MACHINE
from part_lists import public_names

from floqzoo.hyperparameter import Hyperparameter


INTRODUCTION = """# Defaults

<!-- Written by docs/generate.py. -->

This page lists the default value of every optional argument. Because a change to a default changes what users' programs do, it
must be recorded in the changelog. A test fails until `python docs/generate.py` has updated this page.
"""


def defaults_page() -> str:
    """The page, in Markdown."""
    rows = [
        f"| [`{part.__name__}`][{name}]{suffix} | {', '.join(f'`{text}`' for text in defaults)} |"
        for name, part in public_names().items()
        if not (inspect.isclass(part) and issubclass(part, Exception))
        for suffix, function in (("", part), *_methods(part))
        if (defaults := [*_defaults(function)])
    ]
    return "\n".join([INTRODUCTION, "| class, method or function | defaults |", "|---|---|", *rows, ""])


def _methods(part: Any) -> Iterator[tuple[str, Any]]:
    for name, member in vars(part).items() if inspect.isclass(part) else ():
        if not name.startswith("_") and callable(getattr(part, name)) and not inspect.isclass(member):
            yield f"`.{name}`", getattr(part, name)


def _defaults(function: Any) -> Iterator[str]:
    fields = {field.name: field for field in dataclasses.fields(function)} if dataclasses.is_dataclass(function) else {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not parameter.empty:
            factory = fields[name].default_factory if name in fields else dataclasses.MISSING
            if name in MACHINE:
                yield f"{name}={MACHINE[name]}"
            else:
                yield f"{name}={_text(parameter.default if factory is dataclasses.MISSING else factory())}"


def _text(value: Any) -> str:
    """A value as it is written; an ellipsis for what has no short name."""
    if isinstance(value, Hyperparameter):
        return _text(value.stored)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return str(value)
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return f"({', '.join(map(_text, value))}{',' * (len(value) == 1)})"
    if isinstance(value, eqx.Module):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return f"{type(value).__name__}({', '.join(f'{name}={_text(each)}' for name, each in fields)})"
    return repr(value) if isinstance(value, bool | int | float | str | None) else "..."
