"""`floqzoo train`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro


def train(method: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="METHOD")], /) -> None:
    """Trains and evaluates a method: `floqzoo train floq --preset quickstart` is `python recipes/floq.py --preset quickstart`.

    All flags after the name are those of the method: `floqzoo train floq --help` lists them.

    Args:
        method: The name of the method, from `floqzoo methods`.
    """
    train_with(method, ())


def train_with(method: str, flags: Sequence[str]) -> None:
    """Runs the program of a method with its flags.

    **Raises** `ValueError` for an unknown method; the message suggests the nearest one.
    """
    import importlib
    import runpy

    recipes = importlib.import_module("recipes")
    if method not in recipes.NAMES:
        from floqzoo.runs.recipe import find_recipe

        find_recipe(method)  # raises the error with the nearest name
    sys.argv = [f"floqzoo train {method}", *flags]
    runpy.run_path(str(Path(recipes.__path__[0]) / f"{method}.py"), run_name="__main__")
