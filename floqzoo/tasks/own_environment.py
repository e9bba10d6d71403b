"""Prepares your own environment for evaluation and exploration."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np


class ReportedSuccess(gymnasium.Wrapper):
    """A wrapper that reports success as `info["success"]` in each step: 1 or 0, or NaN if `key` is None.

    - `environment`: Any Gymnasium environment.
    - `key`: The key of `info` that reports success; None if the environment does not report it.
    - `any_step`: Whether success in a step also counts for all later steps.
    """

    def __init__(self, environment: gymnasium.Env, key: str | None, *, any_step: bool):
        super().__init__(environment)
        self._key, self._any_step, self._succeeded = key, any_step, False

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Starts a new episode."""
        self._succeeded = False
        return self.env.reset(**options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Takes a step in the environment.

        **Raises** `ValueError` if `key` is not None and the environment's `info` does not contain it.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._key is None:
            return observation, reward, terminated, truncated, {**info, "success": float("nan")}
        if self._key not in info:
            raise ValueError(
                f"the environment must report `info[{self._key!r}]`, the task's `success_key`; its info has {sorted(info)}."
            )
        now = bool(info[self._key])
        self._succeeded = now or (self._any_step and self._succeeded)
        return observation, reward, terminated, truncated, {**info, "success": float(self._succeeded)}


class UnitActions(gymnasium.wrappers.RescaleAction):
    """A wrapper that maps actions in [-1, 1] affinely to the environment's own action bounds."""

    def __init__(self, environment: gymnasium.Env):
        space: Any = environment.action_space
        ones = np.ones_like(space.low)
        super().__init__(environment, -ones, ones)
        self._bounds = space.low, space.high

    def action(self, action: np.ndarray) -> np.ndarray:
        """Maps an action to the environment's own units, and clips it to the bounds to remove rounding errors."""
        return np.clip(super().action(action), *self._bounds)


def in_own_units(environment: gymnasium.Env) -> gymnasium.Env:
    """Removes the `UnitActions` wrapper, if there is one, so that actions are in the environment's own units."""
    return environment.env if isinstance(environment, UnitActions) else environment


def prepared_environment(
    environment: gymnasium.Env, *, success_key: str | None, any_step: bool, max_episode_steps: int | None
) -> gymnasium.Env:
    """Wraps an environment so that it has a step limit, takes actions in [-1, 1] and reports `info["success"]`.

    **Raises** `ValueError` if a space is not supported, if there is no step limit, or if `max_episode_steps` exceeds
    the environment's own limit.
    """
    low, high = action_bounds_of(environment)
    environment = with_step_limit(environment, max_episode_steps)
    environment = ReportedSuccess(environment, success_key, any_step=any_step)
    return UnitActions(environment) if (low != -1).any() or (high != 1).any() else environment


def action_bounds_of(environment: gymnasium.Env) -> tuple[np.ndarray, np.ndarray]:
    """Returns the action bounds of an environment whose observations and actions are vectors of numbers.

    **Raises** `ValueError` if a space is not a vector, or if actions are not floating-point numbers with finite bounds.
    """
    name, space = _name_of(environment), environment.action_space
    _require_vector(f"the observation space of {name}", environment.observation_space)
    _require_vector(f"the action space of {name}", space)
    low, high = space.low, space.high  # pyright: ignore[reportAttributeAccessIssue]
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ValueError(
            f"the action space of {name} must have finite bounds, each lower one below the upper one; it is {space}."
        )
    if low.dtype.kind != "f":
        raise ValueError(f"the action space of {name} must be of floating-point numbers; it is {space}.")
    return low, high


def with_step_limit(environment: gymnasium.Env, max_episode_steps: int | None) -> gymnasium.Env:
    """Limits each episode to `max_episode_steps` steps. If the limit is None, returns the environment unchanged.

    **Raises** `ValueError` if `max_episode_steps` is None and the environment has no step limit of its own, or if
    `max_episode_steps` exceeds the environment's own limit.
    """
    own = min(_step_limits(environment), default=None)
    if max_episode_steps is not None:
        if own is not None and own < max_episode_steps:
            raise ValueError(
                f"`max_episode_steps` must be at most {own}, the step limit of {_name_of(environment)} itself; got "
                f"{max_episode_steps}. Create the environment with a higher limit."
            )
        return gymnasium.wrappers.TimeLimit(environment, max_episode_steps)
    registered = environment.spec.max_episode_steps if environment.spec is not None else None
    if own is None and registered is None:
        raise ValueError(
            f"`max_episode_steps` must be set for {_name_of(environment)}, which is neither registered with a step limit nor "
            "wrapped in gymnasium.wrappers.TimeLimit (even if its `step` truncates episodes)."
        )
    return environment


def _step_limits(environment: gymnasium.Env) -> Iterator[int]:
    """The limits of the `TimeLimit`s among the wrappers."""
    while isinstance(environment, gymnasium.Wrapper):
        if isinstance(environment, gymnasium.wrappers.TimeLimit):
            yield environment._max_episode_steps
        environment = environment.env


def _name_of(environment: gymnasium.Env) -> str:
    return environment.spec.id if environment.spec else type(environment.unwrapped).__name__


def _require_vector(what: str, space: Any) -> None:
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        advice = (
            " Flatten it with gymnasium.wrappers.FlattenObservation."
            if isinstance(space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple)
            else ""
        )
        raise ValueError(f"{what} must be a Box of one axis, a vector of numbers; it is {space}.{advice}")
