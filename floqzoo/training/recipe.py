"""What a method is: a name, a way to build its agent, and its presets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from floqzoo.training.configuration import RunConfig


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
    - `view`: From the loaded task and the run's settings the task as the method sees it; for most the task itself.
    - `from_data`: Further arguments of `build`, arrays that are read from the loaded task, such as a normaliser. Without
      them `build` must give an agent of the same form, into which a checkpoint can be read.
    - `report`: Tells what else can be told of the trained agent of a seed, from that, the task as the method sees it,
      the run's settings, the seed and the folder of the run.

    **Raises** `ValueError` if there is no preset named `default`.
    """

    name: str
    build: Callable[..., PyTree]
    presets: Mapping[str, Preset]
    check: Callable[[RunConfig], Any] = lambda config: None
    view: Callable[[Any, RunConfig], Any] = lambda task, config: task
    from_data: Callable[[Any], Mapping[str, PyTree]] = lambda task: {}
    report: Callable[[PyTree, Any, RunConfig, int, Path], Any] | None = None

    def __post_init__(self):
        if "default" not in self.presets:
            raise ValueError(f"`presets` must have one named 'default'; it has {sorted(self.presets)}.")


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
