"""Names the settings that cause an error, because the error of a component names only the component's argument."""

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def naming_settings(check: Callable[[Any], Any], settings: Any, prefix: str = "agent.") -> None:
    """Calls `check(settings)`; if this raises a `ValueError`, adds to its message the names of the settings that cause
    it.

    A setting counts as a cause if the check succeeds, or fails with a different message, after the setting is reset to
    its default. In a message such as "`edges` must be at least 2; got 1.", the name of the setting replaces the name of
    the argument if exactly one of the causes has the value in the message. Otherwise, the names of all causes are put
    before the message.

    - `check`: A function that raises `ValueError` for settings that it rejects.
    - `settings`: The settings, as a dataclass.
    - `prefix`: A prefix for the names of settings in the message, such as "agent." as on the command line.

    **Raises** `ValueError` with the extended message, or the error of `check` itself if no setting counts as a cause.
    """
    try:
        check(settings)
    except ValueError as error:
        names = list(_causes(check, settings, str(error)))
        if not names:
            raise
        raise ValueError(_renamed(str(error), settings, names, prefix)) from error


def _causes(check: Callable[[Any], Any], settings: Any, message: str) -> Iterator[str]:
    for field in dataclasses.fields(settings):
        default = field.default
        if default is dataclasses.MISSING or not field.init or _same(default, getattr(settings, field.name)):
            continue
        try:
            check(dataclasses.replace(settings, **{field.name: default}))
        except ValueError as error:
            if str(error) == message:
                continue
        yield field.name


def _renamed(message: str, settings: Any, names: list[str], prefix: str) -> str:
    argument = re.match(r"`(\w+)`[^`]* must .*; got (\S+?)\.?$", message)
    having = [name for name in names if argument and _same(getattr(settings, name), argument[2])]
    if argument and len(having) == 1:
        return message.replace(f"`{argument[1]}`", f"`{prefix}{having[0]}`", 1)
    given = " and ".join(f"`{prefix}{name}` ({getattr(settings, name)})" for name in names)
    return f"{given}: {message}"


def _same(value: Any, other: Any) -> bool:
    """Whether two values are equal, or `other` is the text of `value`; floats are compared in float32."""
    if isinstance(value, float) and not isinstance(other, bool):
        try:
            return np.float32(value).tobytes() == np.float32(other).tobytes()
        except (TypeError, ValueError):
            return False
    return value == other or str(value) == other
