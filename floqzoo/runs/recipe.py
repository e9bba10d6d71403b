"""Recipes: a name, a function that builds an agent, and presets; found by name or loaded from a file."""

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from floqzoo.learner.batch_sources import ActionChunks, BalancedReplay, NStep, SeededReplay, UniformBatches
from floqzoo.protocols import BatchSource, TransitionReader
from floqzoo.runs.configuration import RunConfig
from floqzoo.tasks.own_code import module_of_file


Preset = Callable[[str | None], RunConfig]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A method, ready to be run from the command line by `run_recipe`.

    - `name`: Its name.
    - `build`: Builds the agent, untrained, from the keyword arguments `observation_dim`, `action_dim`,
      `reward_range`, `config` (the run's `agent` settings) and `key`.
    - `presets`: For each name a function from an environment's name, or None for the preset's own choice, to the
      settings of a run. The first line of its docstring is shown by `--help`.
    - `check`: Refuses settings that contradict each other, before any data are loaded: raises `ValueError` for them.
      `buildable` makes one from `build`.
    - `batch_source`: From the settings of the run, and whether it is online yet, the batch source of its updates; see
      `standard_batches`, the default.
    - `from_data`: From the loaded task and the settings of the run further arguments of `build` that hold arrays, such as a
      normaliser or the policy of another run. Without them `build` must give an agent of the same form, into which a checkpoint can be read.
    - `report`: Tells what else can be told of the trained agent of a seed, from that, the task,
      the run's settings, the seed and the folder of the run.

    **Raises** `ValueError` if there is no preset named `default`.
    """

    name: str
    build: Callable[..., PyTree]
    presets: Mapping[str, Preset]
    check: Callable[[RunConfig], Any] = lambda config: None
    batch_source: Callable[[RunConfig, bool], BatchSource] = lambda config, online: standard_batches(config, online)
    from_data: Callable[[Any, RunConfig], Mapping[str, PyTree]] = lambda task, config: {}
    report: Callable[[PyTree, Any, RunConfig, int, Path], Any] | None = None

    def __post_init__(self):
        if "default" not in self.presets:
            raise ValueError(f"`presets` must have one named 'default'; it has {sorted(self.presets)}.")


def standard_batches(
    config: RunConfig, online: bool, reader: Callable[[Any], TransitionReader] | None = None
) -> BatchSource:
    """Uniform batches offline; online a replay buffer that starts as the dataset, or balanced halves.

    - `reader`: From the settings of the method to what is read of each transition; by default n-step returns of
      `config.agent.n_step` steps, and single steps for settings without it; chunks of `config.agent.chunk_length` actions
      where that is above 1.
    """
    read = _steps(config.agent) if reader is None else reader(config.agent)
    if not online:
        return UniformBatches(read)
    return BalancedReplay(read) if config.balanced_sampling else SeededReplay(config.buffer_size, read)


def _steps(settings: Any) -> NStep | ActionChunks:
    if getattr(settings, "chunk_length", 1) > 1:
        return ActionChunks(settings.chunk_length, settings.discount)
    return NStep(settings.n_step, settings.discount) if hasattr(settings, "n_step") else NStep()


def buildable(build: Callable[..., PyTree]) -> Callable[[RunConfig], Any]:
    """The `check` of a recipe that refuses whatever its `build` refuses, which is traced for small spaces, and not run:
    no device is opened. The settings must be hashable, as a frozen dataclass is.

    **Raises**, when it is called, what `build` raises.
    """

    @cache
    def traced(settings: Any) -> None:
        make = partial(build, observation_dim=3, action_dim=2, reward_range=(-1.0, 0.0), config=settings)
        eqx.filter_eval_shape(lambda seed: make(key=jax.random.key(seed)), jax.ShapeDtypeStruct((), np.uint32))

    return lambda config: traced(config.agent)


def agent_builder(
    recipe: Recipe,
    config: Any,
    *,
    observation_dim: int,
    action_dim: int,
    reward_range: tuple[float, float],
    **parts: PyTree,
) -> Callable[[Array], PyTree]:
    """A function from a key to the recipe's agent with some settings, untrained."""
    build = partial(
        recipe.build,
        observation_dim=observation_dim,
        action_dim=action_dim,
        reward_range=reward_range,
        config=config,
        **parts,
    )
    return lambda key: build(key=key)


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
    module = module_of_file(path)
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{path} must have a `RECIPE`, a floqzoo.runs.Recipe; it has {recipe!r}.")
    return recipe
