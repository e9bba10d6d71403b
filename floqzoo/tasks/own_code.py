"""Imports the user's Python files and modules. Importing executes code, so import only what the user has named."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import ModuleType
from typing import Any


_files: dict[str, str] = {}
"""The imported files, by the names of their modules."""


def module_of_file(path: str | Path) -> ModuleType:
    """Imports and thereby executes a Python file.

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
    _files[name] = str(path.absolute())
    # As Python does for a script: the file may import modules from its folder.
    folder = str(path.absolute().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


def own_module(source: str) -> ModuleType:
    """Imports the user's file (`FILE.py`) or module (`PACKAGE.MODULE`).

    **Raises** `FileNotFoundError` if there is no such file, `ValueError` if there is no such module.
    """
    if source.endswith(".py"):
        return module_of_file(source)
    try:
        return importlib.import_module(source)
    except ModuleNotFoundError as error:
        if error.name is not None and source.split(".")[0] == error.name.split(".")[0]:
            raise ValueError(
                f"the module {source!r} cannot be imported ({error}); pass FILE.py, or a module on Python's path."
            ) from error
        raise


def own_modules() -> list[ModuleType]:
    """Returns the modules of the user's files that this process has executed, latest first, followed by `__main__`."""
    return [sys.modules[name] for name in (*reversed(_files), "__main__")]


def named_in_own_code(reference: str, what: str) -> Any:
    """Returns the object given by a reference `FILE.py:NAME` or `MODULE:NAME`. This executes the file or the module.

    - `what`: The name of the argument that contains the reference, for error messages.

    **Raises** `ValueError` if the reference is malformed or there is no such module or name, `FileNotFoundError` if
    there is no such file.
    """
    source, _, name = reference.rpartition(":")
    if not source or not name.isidentifier():
        raise ValueError(f"{what} must be FILE.py:NAME or MODULE:NAME; got {reference!r}.")
    module = own_module(source)
    if not hasattr(module, name):
        raise ValueError(f"{what} is {reference!r}, but {source} does not define {name!r}.")
    return getattr(module, name)


@dataclass(frozen=True)
class _FileFinder:
    """An import finder for the modules of files, by the names that another process gave them."""

    files: Mapping[str, str]

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The specification of the module of a file; None for any other name."""
        file = self.files.get(fullname)
        return None if file is None else importlib.util.spec_from_file_location(fullname, file)


@dataclass(frozen=True)
class ForAnotherProcess:
    """A pickled function or object for another process, with the paths of the user's files that may define it.

    The paths are needed because pickle stores a function as a module and a name, but another process cannot find the
    user's file, or a module in the folder of that file, by its name. The other process executes a file only if the
    object needs it.
    """

    packed: bytes
    files: Mapping[str, str]

    @classmethod
    def of(cls, value: Any) -> "ForAnotherProcess":
        """Packs an object. **Raises** any error that occurs when the object is pickled."""
        return cls(bytes(ForkingPickler.dumps(value)), dict(_files))

    def value(self) -> Any:
        """Unpacks the object in the other process."""
        sys.meta_path.append(_FileFinder(self.files))
        sys.path.extend(sorted({str(Path(file).parent) for file in self.files.values()}))
        return ForkingPickler.loads(self.packed)  # pyright: ignore[reportAttributeAccessIssue]
