"""The `floqzoo methods` command."""


def methods() -> None:
    """Lists the methods: the description, source, critic, policy and presets of each.

    To train a method, run `python recipes/NAME.py`; --env_name selects a task and the settings published for it.
    """
    import importlib

    from floqzoo.results.text_table import text_table

    names = importlib.import_module("recipes").NAMES
    rows = [method_row(name) for name in names]
    print(text_table("Methods", ["recipe", "method", "critic and policy", "presets"], rows), end="")


def method_row(name: str) -> list[str]:
    """Returns the table row of a recipe: its name, the first line of its docstring (with the source), the classes of
    its critic and policy, and its presets."""
    import importlib
    import warnings

    import equinox as eqx
    import jax
    import numpy as np

    from floqzoo.runs.recipe import agent_builder, find_recipe

    recipe = find_recipe(name)
    page = importlib.import_module(f"recipes.{name}").__doc__ or ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # No settings are published for this task; its parts are the same.
        settings = recipe.presets["default"](None).agent
    build = agent_builder(recipe, settings, observation_dim=3, action_dim=2, reward_range=(-1.0, 0.0))
    agent = eqx.filter_eval_shape(lambda seed: build(jax.random.key(seed)), jax.ShapeDtypeStruct((), np.uint32))
    parts = f"{type(agent.critic).__name__}, {type(agent.policy).__name__}"
    return [name, page.split("\n")[0], parts, ", ".join(recipe.presets)]
