"""Optional libraries that read other formats."""

import importlib
from typing import Any


def library(name: str, extra: str) -> Any:
    """Imports a library.

    **Raises** `ModuleNotFoundError`, with the command that installs the library, if it is missing.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this format needs {error.name}, which is not installed: pip install 'floqzoo[{extra}]'."
        ) from error
