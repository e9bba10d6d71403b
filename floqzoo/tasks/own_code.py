"""Importing Python files and modules of the user. This executes them, so only those that the user named are imported."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any


FILES: dict[str, str] = {}
"""The path of every imported file, by the name of its module."""


@dataclass(frozen=True)
class FileFinder:
    """Finds the modules of files, so that their functions can be unpickled."""

    files: Mapping[str, str]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of the module of a file; None for any other name."""
        file = self.files.get(fullname)
        return None if file is None else importlib.util.spec_from_file_location(fullname, file)


def import_as_parent(files: Mapping[str, str]) -> None:
    """Lets a worker process import the files that its parent imported, and modules from their folders.

    - `files`: The `FILES` of the parent. A file is executed only when it is needed.
    """
    sys.meta_path.append(FileFinder(files))
    sys.path.extend(sorted({str(Path(file).parent) for file in files.values()}))


def module_of_file(path: str | Path) -> ModuleType:
    """Imports a Python file, which executes it.

    **Raises** `FileNotFoundError` if there is no such file, `ValueError` if it is not a Python file.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    name = f"floqzoo_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} must be a Python file, whose name ends with .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # needed by dataclasses to resolve annotations
    FILES[name] = str(path.absolute())
    # As Python does for a script: the file may import modules from its folder.
    folder = str(path.absolute().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


def own_module(source: str) -> ModuleType:
    """Imports a file (`FILE.py`) or a module (`PACKAGE.MODULE`).

    **Raises** `FileNotFoundError` or `ValueError` if it does not exist.
    """
    if source.endswith(".py"):
        return module_of_file(source)
    try:
        return importlib.import_module(source)
    except ModuleNotFoundError as error:
        if error.name is not None and source.split(".")[0] == error.name.split(".")[0]:
            raise ValueError(f"there is no module {source!r}: {error}.") from error
        raise


def named_in_own_code(reference: str, what: str) -> Any:
    """The object that `FILE.py:NAME` or `MODULE:NAME` names; the code is executed.

    - `what`: Its purpose, for messages.

    **Raises** `ValueError` if there is no such name, `FileNotFoundError` if there is no such file.
    """
    source, _, name = reference.rpartition(":")
    if not source or not name.isidentifier():
        raise ValueError(f"{what} must be FILE.py:NAME or MODULE:NAME; got {reference!r}.")
    module = own_module(source)
    if not hasattr(module, name):
        raise ValueError(f"{what} is {reference!r}, and {source} has no {name!r}.")
    return getattr(module, name)
