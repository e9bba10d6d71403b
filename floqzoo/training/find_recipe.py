"""Recipes by name, and from a file."""

import difflib
import importlib
import importlib.util
import sys
from pathlib import Path

from floqzoo.training.recipe import Recipe


def find_recipe(name: str) -> Recipe:
    """The recipe of this name in the package `recipes`; no other module is ever imported.

    **Raises** `ValueError` for an unknown name, with the nearest one.
    """
    # By its name, since recipes stand upon floqzoo and not beneath it.
    names = importlib.import_module("recipes").NAMES
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"there is no recipe {name!r}; there are {', '.join(names)}.{hint} One of your own is named by its file, FILE.py."
        )
    return importlib.import_module(f"recipes.{name}").RECIPE


def load_recipe(path: str | Path) -> Recipe:
    """The `RECIPE` of a Python file, which is executed: ask for it only where you trust the file.

    **Raises** `FileNotFoundError` if there is no such file, `ValueError` if it is no Python file or has no `RECIPE`.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    name = f"floqzoo_recipe_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} must be a Python file, whose name ends with .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Where dataclasses look up what their annotations mean.
    sys.path.insert(
        0, str(path.absolute().parent)
    )  # As Python does for a program: a recipe may import what is beside it.
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.absolute().parent))
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{path} must have a `RECIPE`, a floqzoo.training.Recipe; it has {recipe!r}.")
    return recipe
