"""Your own tasks: a dataset, and optionally a Gymnasium environment."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np

from floqzoo.tasks.dataset import Dataset
from floqzoo.tasks.goal_dataset import GoalDataset
from floqzoo.tasks.own_code import named_in_own_code
from floqzoo.tasks.sharded_dataset import ShardedDataset


@dataclass(frozen=True, kw_only=True)
class GymnasiumTask:
    """A task of your own: a dataset and, optionally, the Gymnasium environment that the data come from.

    Without an environment, only losses and diagnostics are logged.

    - `name`: The name of the task, which is shown in titles and tables.
    - `dataset`: The transitions to train on, such as the result of `dataset_from_transitions`, a `GoalDataset` of such a
      result, or a `ShardedDataset`.
    - `environment`: A function that creates a new Gymnasium environment whose observations and actions are vectors of
      numbers; None if the task has no environment. If environments run in separate processes, the function must be
      defined at the top level of a module.
    - `validation`: Held-out transitions; None if there are none.
    - `success_key`: The key of `info` under which the environment reports success. If it is None, evaluations measure
      only returns.
    - `success_at`: The step that must report success for an episode to count as successful: "last" for the last step of
      the episode, or "any" for any of its steps.
    - `max_episode_steps`: The number of steps after which an episode is truncated. It must not exceed the environment's
      own step limit, if there is one; None uses that limit.
    - `reference_returns`: The two returns that are mapped to 0 and 1 in normalised returns, such as the returns of a
      random policy and of an expert policy.

    The policy's actions in [-1, 1] are mapped affinely to the bounds of the environment's action space. The dataset
    must have been built with the same bounds.

    **Raises** `ValueError` if an argument is invalid, if the environment's observations or actions are not vectors, if
    its action bounds are not finite, if the environment or the validation data do not match the dataset, or if episodes
    have no step limit.
    """

    name: str
    dataset: Dataset | GoalDataset | ShardedDataset
    environment: Callable[[], Any] | None = None
    validation: Dataset | GoalDataset | ShardedDataset | None = None
    success_key: str | None = None
    success_at: str = "last"
    max_episode_steps: int | np.integer | None = None
    reference_returns: Sequence[float | int] | np.ndarray | None = None

    def __post_init__(self):
        self._set_plain_numbers()
        if not self.name:
            raise ValueError("`name` must not be empty.")
        if self.success_at not in ("last", "any"):
            raise ValueError(f"`success_at` must be 'last' or 'any'; got {self.success_at!r}.")
        if self.max_episode_steps is not None and self.max_episode_steps < 1:
            raise ValueError(f"`max_episode_steps` must be at least 1; got {self.max_episode_steps}.")
        if self.reference_returns is not None and not self.reference_returns[0] < self.reference_returns[1]:
            raise ValueError(f"`reference_returns` must be ascending; got {self.reference_returns}.")
        if self.validation is not None:
            ours, theirs = (
                (data.observation_dim, data.action_dim, data.action_bounds) for data in (self.validation, self.dataset)
            )
            if ours != theirs:
                raise ValueError(f"`validation` must have {_spaces(*theirs)}, as `dataset` has; got {_spaces(*ours)}.")
        if self.environment is not None:
            environment = _prepared(self.environment, self.success_key, self.success_at, self.max_episode_steps)
            try:
                self._require_same_spaces(environment)
            finally:
                environment.close()

    def _set_plain_numbers(self) -> None:
        """Converts NumPy numbers and arrays to Python numbers."""
        if self.max_episode_steps is not None:
            object.__setattr__(self, "max_episode_steps", operator.index(self.max_episode_steps))
        if self.reference_returns is not None:
            returns = tuple(float(each) for each in self.reference_returns)
            if len(returns) != 2:
                raise ValueError(
                    f"`reference_returns` must be two returns, which count as 0 and as 1 in normalised returns; got {returns}."
                )
            object.__setattr__(self, "reference_returns", returns)

    @property
    def make_environment(self) -> Callable[[], Any] | None:
        """A function that creates a new environment; None for a task without an environment.

        The environment takes actions in [-1, 1]. In each step, `info["success"]` is 1 or 0, or NaN if the environment
        does not report success.
        """
        if self.environment is None:
            return None
        return partial(_prepared, self.environment, self.success_key, self.success_at, self.max_episode_steps)

    @property
    def observation_dim(self) -> int:
        """The number of coordinates of an observation."""
        return self.dataset.observation_dim

    @property
    def action_dim(self) -> int:
        """The number of coordinates of an action."""
        return self.dataset.action_dim

    @property
    def reward_range(self) -> tuple[float, float]:
        """The minimum and the maximum reward of a transition in `dataset`."""
        return self.dataset.reward_range

    def describe(self) -> dict[str, Any]:
        """Returns JSON-serialisable values that identify the data and the environment, to store with the results."""
        return {
            "env_name": self.name,
            "provenance": "own",
            "fingerprint": self.dataset.fingerprint(),
            "success_key": self.success_key,
            "success_at": self.success_at,
            "max_episode_steps": self.max_episode_steps,
            "reference_returns": None if self.reference_returns is None else list(self.reference_returns),
        }

    def _require_same_spaces(self, environment: Any) -> None:
        from floqzoo.tasks.own_environment import in_own_units

        seen: Any = environment.observation_space
        actions: Any = in_own_units(environment).action_space
        widths = {
            "observations": (self.observation_dim, seen.shape[0]),
            "actions": (self.action_dim, actions.shape[0]),
        }
        for name, (ours, theirs) in widths.items():
            if ours != theirs:
                raise ValueError(f"`dataset` must have {name} of {theirs} numbers, as the environment has; got {ours}.")
        numbers = self.dataset.observations.dtype if isinstance(self.dataset, Dataset | GoalDataset) else None
        if numbers is not None and (numbers == np.uint8) != (seen.dtype == np.uint8):
            raise ValueError(
                "the observations of `dataset` and of the environment must both be uint8, or neither; got "
                f"{numbers} in `dataset` and {seen.dtype} in the environment. To convert an environment's uint8 observations, "
                "wrap it in gymnasium.wrappers.DtypeObservation(environment, numpy.float32)."
            )
        bounds = self.dataset.action_bounds
        if bounds is not None and not np.allclose(bounds, (actions.low, actions.high), rtol=1e-6, atol=1e-6):
            raise ValueError(
                f"`dataset` must have actions between the environment's bounds, {actions}; it was made with actions between "
                f"{list(bounds[0])} and {list(bounds[1])}. Give `action_low` and `action_high` to its constructor."
            )


def _spaces(observation_dim: int, action_dim: int, bounds: Any) -> str:
    recorded = "without recorded bounds" if bounds is None else f"between {list(bounds[0])} and {list(bounds[1])}"
    return f"{observation_dim} numbers in an observation and {action_dim} in an action, {recorded}"


def _prepared(make: Callable[[], Any], success_key: str | None, success_at: str, max_episode_steps: Any) -> Any:
    # Imported here, so that gymnasium is imported only when it is needed.
    from floqzoo.tasks.own_environment import prepared_environment

    return prepared_environment(
        make(), success_key=success_key, any_step=success_at == "any", max_episode_steps=max_episode_steps
    )


def is_reference(env_name: str) -> bool:
    """Returns whether the name of a task refers to the user's code, as `FILE.py:NAME` and `MODULE:NAME` do."""
    return ":" in env_name


def task_label(env_name: str) -> str:
    """Returns a task's name for titles and tables. For a task in the user's code, the file's folder is omitted."""
    return PurePath(env_name).name if is_reference(env_name) else env_name


def own_task(reference: str) -> Any:
    """Loads a task from the user's code, given a reference `FILE.py:NAME` or `MODULE:NAME`.

    This executes the file or the module. If NAME is callable, it is called, and its result is the task.

    **Raises** `ValueError` if the reference is malformed, if there is no such module or name, or if the result is not a
    [`Task`][floqzoo.protocols.Task]; `FileNotFoundError` if there is no such file.
    """
    task = named_in_own_code(reference, "`env_name`")
    if callable(task):
        task = task()
    missing = [part for part in _TASK if not hasattr(task, part)]
    if missing:
        raise ValueError(
            f"`env_name` is {reference!r}, which must be a task, such as a floqzoo.tasks.GymnasiumTask, or a function that "
            f"returns one; got a {type(task).__name__}, which lacks {', '.join(missing)}."
        )
    return task


_TASK = ("dataset", "observation_dim", "action_dim", "reward_range", "describe")
