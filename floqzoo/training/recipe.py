"""What a method is: a name, a way to build its agent, and its presets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import PyTree

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

    **Raises** `ValueError` if there is no preset named `default`.
    """

    name: str
    build: Callable[..., PyTree]
    presets: Mapping[str, Preset]

    def __post_init__(self):
        if "default" not in self.presets:
            raise ValueError(f"`presets` must have one named 'default'; it has {sorted(self.presets)}.")
