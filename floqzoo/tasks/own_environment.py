"""Preparing your own environment for evaluation and exploration."""

from typing import Any

import gymnasium
import numpy as np


class ReportedSuccess(gymnasium.Wrapper):
    """Puts the success of an episode into `info["success"]`: 1 or 0, and NaN if the environment does not report it.

    - `environment`: Any Gymnasium environment.
    - `key`: The key of success in `info`; None if there is none.
    - `any_step`: Whether success in a step also counts for all later steps.
    """

    def __init__(self, environment: gymnasium.Env, key: str | None, *, any_step: bool):
        super().__init__(environment)
        self._key, self._any_step, self._succeeded = key, any_step, False

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Starts an episode."""
        self._succeeded = False
        return self.env.reset(**options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Takes a step.

        **Raises** `ValueError` if `info` lacks the key.
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


def prepared_environment(
    environment: gymnasium.Env, *, success_key: str | None, any_step: bool, max_episode_steps: int | None
) -> gymnasium.Env:
    """An environment with a step limit, actions in [-1, 1] and success in `info["success"]`.

    **Raises** `ValueError` for unsupported spaces, and if there is no step limit.
    """
    name = environment.spec.id if environment.spec else type(environment.unwrapped).__name__
    _require_vector(f"the observation space of {name}", environment.observation_space)
    space = environment.action_space
    _require_vector(f"the action space of {name}", space)
    low, high = space.low, space.high  # pyright: ignore[reportAttributeAccessIssue]
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ValueError(f"the action space of {name} must have finite bounds; it is {space}.")
    if max_episode_steps is not None:
        environment = gymnasium.wrappers.TimeLimit(environment, max_episode_steps)
    elif environment.spec is None or environment.spec.max_episode_steps is None:
        raise ValueError(f"episodes of {name} may never end; set `max_episode_steps` of the task.")
    if (low != -1).any() or (high != 1).any():
        ones = np.ones_like(low)
        environment = gymnasium.wrappers.RescaleAction(environment, -ones, ones)
    return ReportedSuccess(environment, success_key, any_step=any_step)


def _require_vector(what: str, space: Any) -> None:
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        advice = (
            " Flatten it with gymnasium.wrappers.FlattenObservation."
            if isinstance(space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple)
            else ""
        )
        raise ValueError(f"{what} must be a Box of one axis, a vector of numbers; it is {space}.{advice}")
