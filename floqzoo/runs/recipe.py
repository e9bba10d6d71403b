"""Defines, finds and loads recipes. A recipe combines a function that builds an agent with presets of its settings."""

import difflib
import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from floqzoo.learner.batch_sources import ActionChunks, BalancedReplay, NStep, SeededReplay, UniformBatches
from floqzoo.learner.random_crop import RandomCrop
from floqzoo.learner.reward_noise import RewardNoise
from floqzoo.networks.normaliser import Normaliser
from floqzoo.protocols import BatchSource, TransitionReader
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.refused_setting import naming_settings
from floqzoo.tasks.datafile import FRAME
from floqzoo.tasks.own_code import module_of_file
from floqzoo.typing import Array


Preset = Callable[[str | None], RunConfig]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A method that `run_recipe` can run from the command line.

    - `name`: The name of the recipe.
    - `build`: Builds an untrained agent from the keyword arguments `observation_dim`, `action_dim`, `reward_range`,
      `config` (the run's `agent` settings) and `key`.
    - `presets`: Functions by name. Each maps an environment name (None for the preset's default) to the settings of a
      run. `--help` shows the first line of their docstrings.
    - `check`: A function that raises `ValueError` for settings that contradict each other, before any data are loaded.
      `buildable` creates such a function from `build`.
    - `batch_source`: A function that returns the batch source of the updates, given the settings of the run and whether
      the batch source is for the online phase; `standard_batches` by default.
    - `from_data`: A function that returns additional arguments for `build` that contain arrays, such as a normaliser or
      the policy of another run, given the loaded task and the settings of the run. `build` must also work without these
      arguments, and then return an agent of the same structure, so that a checkpoint can be read into it.
    - `to_task`: A function that prepares the agent of one seed to act on the task of the run, for example by inferring
      the task vector of FB from rewards, given the agent, the task and the settings of the run. It is applied before an
      agent is evaluated, stored or returned. Its changes must not affect training.
    - `report`: A function that prints additional results for a trained agent, given the agent, the task, the settings
      of the run, the seed and the folder of the run.

    **Raises** `ValueError` if no preset is named `default`.
    """

    name: str
    build: Callable[..., PyTree]
    presets: Mapping[str, Preset]
    check: Callable[[RunConfig], Any] = lambda config: None
    batch_source: Callable[[RunConfig, bool], BatchSource] = lambda config, online: standard_batches(config, online)
    from_data: Callable[[Any, RunConfig], Mapping[str, PyTree]] = lambda task, config: {}
    to_task: Callable[[PyTree, Any, RunConfig], PyTree] | None = None
    report: Callable[[PyTree, Any, RunConfig, int, Path], Any] | None = None

    def __post_init__(self):
        if "default" not in self.presets:
            raise ValueError(f"`presets` must have one named 'default'; it has {sorted(self.presets)}.")


def standard_batches(
    config: RunConfig, online: bool, reader: Callable[[Any], TransitionReader] | None = None
) -> BatchSource:
    """Returns the default batch source of a run.

    In the offline phase, batches are sampled uniformly from the dataset. In the online phase, they are sampled from a
    replay buffer that is initialised with the dataset or, with `config.balanced_sampling`, half from the dataset and
    half from new transitions. If `config.p_aug` is above 0, the images of an offline batch are cropped at random with
    this probability. If `config.agent.target_noise_magnitude` is above 0, Gaussian noise of this standard deviation is
    added to the rewards.

    - `config`: The settings of the run.
    - `online`: Whether the batch source is for the online phase.
    - `reader`: A function that maps the settings of the method to a `TransitionReader`. By default, action chunks are
      read if `config.agent.chunk_length` is above 1. Otherwise n-step returns over `config.agent.n_step` steps are read
      (1 step if there is no such setting).
    """
    read = _steps(config.agent) if reader is None else reader(config.agent)
    noise = getattr(config.agent, "target_noise_magnitude", 0.0)
    source = _source(config, online, read)
    return RewardNoise(source, noise) if noise else source


def _source(config: RunConfig, online: bool, read: TransitionReader) -> BatchSource:
    if not online:
        return RandomCrop(UniformBatches(read), config.p_aug) if config.p_aug else UniformBatches(read)
    return BalancedReplay(read) if config.balanced_sampling else SeededReplay(config.buffer_size, read)


def _steps(settings: Any) -> NStep | ActionChunks:
    if getattr(settings, "chunk_length", 1) > 1:
        return ActionChunks(settings.chunk_length, settings.discount)
    return NStep(settings.n_step, settings.discount) if hasattr(settings, "n_step") else NStep()


def buildable(build: Callable[..., PyTree]) -> Callable[[RunConfig], Any]:
    """Returns a function for the field `check` of a recipe, which rejects the settings that `build` rejects.

    The function only traces `build`, with small observation and action dimensions, so it uses no device. The settings
    must be hashable, as a frozen dataclass is. The function raises the same errors as `build`, and adds to a
    `ValueError` the names of the settings that cause it.
    """

    @cache
    def traced(settings: Any) -> None:
        make = partial(
            build,
            observation_dim=small_observation_dim(settings),
            action_dim=2,
            reward_range=(-1.0, 0.0),
            config=settings,
        )
        eqx.filter_eval_shape(lambda seed: make(key=jax.random.key(seed)), jax.ShapeDtypeStruct((), np.uint32))

    return lambda config: naming_settings(traced, config.agent)


def small_observation_dim(settings: Any) -> int:
    """Returns an observation size for tracing a method with these settings: 3, or a frame's size for a pixel encoder."""
    return math.prod(FRAME) if getattr(settings, "encoder", None) else 3


def agent_builder(
    recipe: Recipe,
    config: Any,
    *,
    observation_dim: int,
    action_dim: int,
    reward_range: tuple[float, float],
    **parts: PyTree,
) -> Callable[[Array], PyTree]:
    """Returns a function that maps a key to an untrained agent of the recipe with the given settings.

    - `parts`: Additional arguments of the recipe's `build`, as returned by its `from_data`.
    """
    build = partial(
        recipe.build,
        observation_dim=observation_dim,
        action_dim=action_dim,
        reward_range=reward_range,
        config=config,
        **parts,
    )
    return lambda key: build(key=key)


def with_normaliser(build: Callable[[Array], PyTree], normaliser: Normaliser | None) -> Callable[[Array], PyTree]:
    """Wraps `build` so that its agents get the given normaliser; returns `build` itself if `normaliser` is None.

    The returned function raises `ValueError` if the agents lack the field `normaliser`, which an
    [`Agent`][floqzoo.agent.Agent] has.
    """
    if normaliser is None:
        return build

    def normalising(key: Array) -> PyTree:
        agent = build(key)
        if not hasattr(agent, "normaliser"):
            raise ValueError(
                f"`normalize_observations` must be False for this recipe: it builds a {type(agent).__name__}, which has no "
                "field `normaliser` (a floqzoo.Agent has one)."
            )
        return eqx.tree_at(lambda agent: agent.normaliser, agent, normaliser, is_leaf=lambda node: node is None)

    return normalising


def find_recipe(name: str) -> Recipe:
    """Returns the recipe of the given name from the package `recipes`; no other module is ever imported.

    **Raises** `ValueError` for an unknown name; the message lists all names, and suggests a similar one.
    """
    # Imported by name, since recipes depend on floqzoo and not the other way round.
    names = importlib.import_module("recipes").NAMES
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"there is no recipe {name!r}; the recipes are {', '.join(names)}.{hint} To use a recipe of your own, pass its "
            "file: --recipe FILE.py."
        )
    return importlib.import_module(f"recipes.{name}").RECIPE


def load_recipe(path: str | Path) -> Recipe:
    """Returns the `RECIPE` that a Python file defines. The file is executed, so load only files that you trust.

    **Raises** `FileNotFoundError` if there is no such file; `ValueError` if it is not a Python file, or does not define
    a `RECIPE`.
    """
    module = module_of_file(path)
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{path} must have a `RECIPE`, a floqzoo.runs.Recipe; it has {recipe!r}.")
    return recipe
