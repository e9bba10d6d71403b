"""The `floqzoo train` command."""

import sys
from collections.abc import Sequence
from typing import Annotated

import tyro


def train(method: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="METHOD")], /) -> None:
    """Trains and evaluates a method: `floqzoo train floq` is the same as `python recipes/floq.py`.

    All flags after the name belong to the method: `floqzoo train floq --help` lists them.

    Args:
        method: The name of the method, as listed by `floqzoo methods`.
    """
    train_with(method, ())


def train_with(method: str, flags: Sequence[str]) -> None:
    """Trains and evaluates a method with the given flags.

    **Raises** `ValueError` for an unknown method; the message suggests the nearest one.
    """
    from floqzoo.runs.recipe import find_recipe
    from floqzoo.training.command_line import run_recipe

    recipe = find_recipe(method)
    sys.argv = [f"floqzoo train {method}", *flags]
    run_recipe(recipe)
