"""Reads the settings of a run from its `flags.json`, and checks the type of each setting."""

from collections.abc import Mapping
from typing import Any

from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.recipe import Recipe
from floqzoo.runs.setting_types import read_settings


def config_from_flags(recipe: Recipe, flags: Mapping[str, Any]) -> RunConfig:
    """Reads the settings of a run from the contents of its `flags.json`.

    Each value is checked against the type annotation of its field. Nothing that the file names is imported or executed.
    A missing setting takes its default.

    - `recipe`: The recipe of the run.
    - `flags`: The contents of `flags.json`.

    **Raises** `ValueError` if the run was made with another recipe, if a setting is unknown, of the wrong type or out of
    range, or if a setting without a default is missing. This can happen with runs of other versions.
    """
    if flags.get("recipe") != recipe.name:
        raise ValueError(f"the run was made by the recipe {flags.get('recipe')!r}; got the recipe {recipe.name!r}.")
    settings = {name: value for name, value in flags.items() if name != "recipe"}
    agent_type = type(recipe.presets["default"](None).agent)
    return read_settings(RunConfig, settings, hints={"agent": agent_type})
