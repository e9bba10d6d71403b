"""The type checker of all annotations; a separate module, since it is imported before the import hook is installed."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from beartype import BeartypeConf, beartype


compiled = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Compiles the checks of a function. As in static type checkers (PEP 484), an int is accepted for a float."""


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Checks the calls of a function with beartype, which compiles the checks in the first call.

    Most functions of an imported module are never called, and compiling takes longer than the rest of the import.
    """
    checked: Callable[..., Any] | None = None

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        nonlocal checked
        if checked is None:
            checked = compiled(function)
        return checked(*args, **kwargs)

    return call
