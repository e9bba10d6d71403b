"""What the recipes are, as a table."""

import importlib
import warnings
from typing import Any

import equinox as eqx
import jax
import numpy as np

from floqzoo.runs.recipe import find_recipe


def method_row(name: str) -> list[str]:
    """A recipe's name, the first sentence of its page with the source, the classes of its critic and policy, its presets."""
    recipe = find_recipe(name)
    page = importlib.import_module(f"recipes.{name}").__doc__ or ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # No settings are published for this task; its parts are the same.
        settings = recipe.presets["default"](None).agent

    def build(seed: Any) -> Any:
        key = jax.random.key(seed)
        return recipe.build(observation_dim=3, action_dim=2, reward_range=(-1.0, 0.0), config=settings, key=key)

    agent = eqx.filter_eval_shape(build, jax.ShapeDtypeStruct((), np.uint32))
    parts = f"{type(agent.critic).__name__}, {type(agent.policy).__name__}"
    return [name, page.split("\n")[0], parts, ", ".join(recipe.presets)]
