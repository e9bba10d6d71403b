"""Reads runs from disk: their settings, tables and trained agents."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, PyTree

from floqzoo._version import __version__
from floqzoo.learner.pytree_utils import named_leaves
from floqzoo.learner.seeds import MOST_SEEDS, agent_of, build_agents, in_precision, update_keys
from floqzoo.networks.normaliser import Normaliser
from floqzoo.policies.fixed_policy import FixedPolicy
from floqzoo.protocols import ActsInChunks, Task
from floqzoo.runs.checkpoint import (
    Checkpoint,
    checkpoint_folder,
    checkpoint_steps,
    is_intact,
    require_form,
    restore_checkpoint,
)
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.metric_log import read_metrics
from floqzoo.runs.recipe import Recipe, agent_builder, find_recipe, with_normaliser
from floqzoo.runs.run_directory import FORMAT, read_phases
from floqzoo.runs.run_store import RECORDS, RunState
from floqzoo.runs.stored_config import config_from_flags
from floqzoo.tasks.files import read_json
from floqzoo.tasks.own_task import is_reference, own_task
from floqzoo.typing import Array


Table = dict[str, Float[np.ndarray, " rows"]]


class StoredRun:
    """A run on disk, which is only read; no code from its folder is executed.

    - `directory`: The folder of the run, `<save_dir>/floqzoo/<run_group>/<method>_sd<seeds>_<date>_<time>`.

    Attributes: `directory`; `flags`, `data` and `machine`, the contents of the JSON files with these names;
    `recipe_name`; `seeds`, all seeds of the run in ascending order; `env_name`; `planned_steps`, the number of offline
    updates plus the number of environment steps in the settings of the run; `started`, the date and time at which the
    run was first started, in ISO 8601 format, or "" if unknown.

    **Raises** `FileNotFoundError` if there is no such folder; `ValueError` if it is not the folder of a run, or if the
    run is not in the run format of this version.
    """

    def __init__(self, directory: str | Path):
        self.directory = Path(directory).expanduser()
        if not self.directory.is_dir():
            raise FileNotFoundError(f"there is no folder {self.directory}.")
        missing = [name for name in RECORDS if not (self.directory / name).is_file()]
        if missing:
            raise ValueError(f"{self.directory} is not the folder of a run: it has no {missing[0]}.")
        self.flags, self.data, self.machine = (read_json(self.directory / name) for name in RECORDS)
        found = self.machine.get("format", 1)
        if found != FORMAT:
            raise ValueError(
                f"{self.directory} was written by floqzoo {self.machine.get('floqzoo')} in the run format {found}; this is "
                f"floqzoo {__version__}, which reads the run format {FORMAT}."
            )
        self.recipe_name = self._flag("recipe", str)
        self.env_name = self._flag("env_name", str)
        first, seeds = self._flag("seed", int), self._flag("seeds", int)
        if seeds > MOST_SEEDS:
            raise ValueError(f"{self.directory / 'flags.json'} must have at most {MOST_SEEDS} `seeds`; it has {seeds}.")
        self.seeds = tuple(range(first, first + seeds))
        self.planned_steps = self._flag("offline_steps", int) + self._flag("online_steps", int)
        self.started = self._first_start()

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.directory / "checkpoints"

    @property
    def checkpoint_steps(self) -> list[int]:
        """The steps of the checkpoints, in ascending order; empty if there are none."""
        return checkpoint_steps(self.checkpoints)

    @property
    def phases(self) -> dict[str, int]:
        """The step at which each training phase starts, by phase name; empty for a run without phases."""
        return read_phases(self.directory)

    @property
    def is_finished(self) -> bool:
        """Whether the run is complete: its last step has an intact checkpoint and, in a run with evaluations, an
        evaluation."""
        if not is_intact(checkpoint_folder(self.checkpoints, self.planned_steps)):
            return False
        if not self.flags.get("eval_episodes"):
            return True
        return (self.directory / "eval.csv").exists() and self.planned_steps in self.eval["step"]

    @cached_property
    def train(self) -> Table:
        """The columns of `train.csv` by name. The columns `step` and `seed` identify a row, and empty cells are NaN.

        **Raises** `FileNotFoundError` if there is no such file; `ValueError` if it is not a metric log.
        """
        return read_metrics(self.directory / "train.csv")

    @cached_property
    def eval(self) -> Table:
        """The columns of `eval.csv` by name, in the same form as `train`."""
        return read_metrics(self.directory / "eval.csv")

    def config(self, recipe: Recipe) -> RunConfig:
        """Reads the settings of the run from `flags.json`.

        - `recipe`: The recipe of the run, such as `floqzoo.runs.find_recipe(run.recipe_name)`, or your own recipe.

        **Raises** `ValueError` if the run was made with another recipe, if a setting is unknown, of the wrong type or out
        of range, or if a setting without a default is missing.
        """
        try:
            return config_from_flags(recipe, self.flags)
        except ValueError as error:
            raise ValueError(f"{self.directory / 'flags.json'}: {error}") from error

    def builder(self, recipe: Recipe) -> Callable[[Array], PyTree]:
        """Returns a function that maps a key to an untrained agent of the run; its normaliser, if any, is not fitted.

        **Raises** the same errors as `config`, and `ValueError` if `data.json` lacks a value that the agent needs.
        """
        rewards = self._datum("reward_range", list)
        if [type(bound) for bound in rewards] != [float, float]:
            raise ValueError(
                f"{self.directory / 'data.json'} must have `reward_range`, two numbers such as [-1.0, 0.0]; it has {rewards!r}."
            )
        config, dim = self.config(recipe), self._datum("observation_dim", int)
        build = agent_builder(
            recipe,
            config.agent,
            observation_dim=dim,
            action_dim=self._datum("action_dim", int),
            reward_range=(rewards[0], rewards[1]),
        )
        build = with_normaliser(build, Normaliser.unfitted(dim) if config.normalize_observations else None)
        return in_precision(build, config.precision)

    def agent(self, recipe: Recipe, seed: int, step: int | None = None) -> PyTree:
        """Returns the trained agent of one seed, from the checkpoint of `step`; by default from the latest intact one.

        **Raises** `ValueError` if the run does not have the seed, or if the checkpoint is damaged or belongs to another
        agent; `FileNotFoundError` if there is no such checkpoint; and the same errors as `builder`.
        """
        if seed not in self.seeds:
            raise ValueError(f"`seed` must be one of {', '.join(map(str, self.seeds))}, as in the run; got {seed}.")
        return agent_of(self.restore(recipe, step).tree.agents, self.seeds.index(seed))

    def restore(self, recipe: Recipe, step: int | None = None) -> Checkpoint:
        """Restores the agents of all seeds, from the checkpoint of `step`; by default from the latest intact one.

        The `tree` of the returned checkpoint is a `RunState`.

        **Raises** `ValueError` if the checkpoint is damaged or belongs to another agent; `FileNotFoundError` if there
        is no such checkpoint; and the same errors as `builder`.
        """
        self.require_form(recipe, step)
        like = RunState(build_agents(self.builder(recipe), self.seeds), update_keys(self.seeds))
        return restore_checkpoint(self.checkpoints, like, step)

    def require_form(self, recipe: Recipe, step: int | None = None) -> None:
        """Checks that the agents in a checkpoint match the settings of the run, without building any agents.

        Does nothing if there is no such checkpoint.

        - `recipe`: The recipe of the run.
        - `step`: The step of the checkpoint; by default the latest.

        **Raises** `ValueError` if an array is missing from the checkpoint, or has another shape or dtype in it.
        """
        step = max(self.checkpoint_steps, default=None) if step is None else step
        if step in self.checkpoint_steps:
            agents = eqx.filter_eval_shape(build_agents, self.builder(recipe), self.seeds)
            arrays = eqx.filter(agents, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
            form = {f"agents.{name}": leaf for name, leaf in named_leaves(arrays).items() if leaf.size}
            require_form(self.checkpoints, form, step)

    def _first_start(self) -> str:
        path, earlier = self.directory / "machine.json", self.machine.get("earlier", [])
        if not isinstance(earlier, list) or not all(isinstance(record, dict) for record in earlier):
            raise ValueError(f"{path} must have `earlier`, a list of objects; it has {earlier!r}.")
        first = [*earlier, self.machine][0]
        return _checked(path, {"started": ""} | first, "started", str)

    def _flag(self, name: str, kind: type) -> Any:
        return _checked(self.directory / "flags.json", self.flags, name, kind)

    def _datum(self, name: str, kind: type) -> Any:
        return _checked(self.directory / "data.json", self.data, name, kind)


def named_task(run: StoredRun, task: Task | str | None) -> Task | None:
    """Returns the task of a run if it is the user's own task; None for a task of OGBench.

    The caller must pass their own task again, because a stored run must never decide which code is executed.

    - `run`: The run.
    - `task`: Your own task, or its location as `FILE.py:NAME` or `MODULE:NAME`; None for a task of OGBench.

    **Raises** `ValueError` if the run uses the user's own task but `task` is None, or if `task` is given although the
    run uses a task of OGBench; and the same errors as `floqzoo.tasks.own_task`.
    """
    if not is_reference(run.env_name):
        if task is not None:
            raise ValueError(f"`task` must not be given for {run.directory}, whose task is OGBench's {run.env_name}.")
        return None
    if task is None:
        raise ValueError(
            f"{run.directory} was trained on a task of your own; name the task again, so that its code may be executed: "
            f"--task {run.env_name} (in Python `task={run.env_name!r}`)."
        )
    return own_task(task) if isinstance(task, str) else task


_KINDS = {int: "an integer of at least 0", str: "a string", list: "a list"}


def _checked(path: Path, content: dict[str, Any], name: str, kind: type) -> Any:
    value = content.get(name)
    if type(value) is not kind or (isinstance(value, int) and value < 0):
        raise ValueError(f"{path} must have `{name}`, {_KINDS[kind]}; it has {value!r}.")
    return value


def trained_policy(directory: str | Path, *, observation_dim: int, action_dim: int) -> FixedPolicy:
    """Returns the policy of a run's first seed, from the latest intact checkpoint, as a policy with fixed parameters.

    - `directory`: The folder of a run of a recipe in the package `recipes`.
    - `observation_dim`, `action_dim`: The required dimensions of the policy.

    **Raises** `ValueError` if the folder does not contain a run, or if the policy has other dimensions or acts in
    chunks; `FileNotFoundError` if there is no such folder, or if the run has no checkpoint.
    """
    run = StoredRun(directory)
    for name, wanted in (("observation_dim", observation_dim), ("action_dim", action_dim)):
        if run.data.get(name) != wanted:
            raise ValueError(f"the policy of {directory} must have `{name}` {wanted}; it has {run.data.get(name)}.")
    # A stored run is read in a trace too, where the form of its agent is derived from its settings.
    with jax.ensure_compile_time_eval():
        agent = run.agent(find_recipe(run.recipe_name), run.seeds[0])
    if isinstance(agent.policy, ActsInChunks):
        raise ValueError(
            f"the policy of {directory} must draw single actions; it draws chunks of {agent.policy.chunk_length}."
        )
    return FixedPolicy(agent.policy, agent.critic, agent.parts.normaliser)
