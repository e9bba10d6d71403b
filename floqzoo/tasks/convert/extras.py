"""Imports the optional libraries that read other formats."""

import importlib
from typing import Any


def library(name: str, extra: str) -> Any:
    """Imports and returns a library, which the floqzoo extra named `extra` installs.

    **Raises** `ModuleNotFoundError` if it is not installed; the message contains the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this format needs {error.name}, which is not installed: pip install 'floqzoo[{extra}]'."
        ) from error
