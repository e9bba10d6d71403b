"""Measures the properties of a run's environment that are recorded in an export."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from floqzoo.records import ActorCritic
from floqzoo.rollout.batched_policy import BatchedPolicy
from floqzoo.rollout.episode_player import EpisodePlayer, numpy_state_kept


@dataclass(frozen=True)
class Start:
    """The properties of a run's environment that are recorded in an export.

    - `observations`: Observations from consecutive steps of the run's evaluation episodes, from the start of the first
      episode. When an episode ends, they continue with the next one.
    - `action_bounds`: The lower and upper bounds of actions, in the units of the environment.
    - `control_rate`: The number of actions per second, in Hz; None if the environment does not state it.
    """

    observations: np.ndarray
    action_bounds: tuple[np.ndarray, np.ndarray]
    control_rate: float | None


def seen_at_start(actor: ActorCritic, make_environment: Callable[[], Any], seed: int, *, count: int) -> Start:
    """Plays the evaluation episodes of a seed, and records the first `count` observations, the action bounds and the
    control rate."""
    # Imported here, so that gymnasium is imported only when it is needed.
    from floqzoo.tasks.own_environment import in_own_units

    observations: list[np.ndarray] = []
    with numpy_state_kept(), closing(make_environment()) as environment:
        space, seconds = in_own_units(environment).action_space, control_timestep(environment.unwrapped)
        player, policy, episode = EpisodePlayer(environment), BatchedPolicy(actor, seed), 0
        while len(observations) < count:
            player.begin(episode, seed)
            observation, over, step = player.receive_start(), False, 0
            while not over and len(observations) < count:
                observations.append(observation)
                (action,) = policy.actions(observation[None], np.array([episode]), np.array([step]))
                player.step(action)
                outcome = player.receive_step()
                observation, over, step = outcome.observation, outcome.over, step + 1
            episode += 1
    rate = None if seconds is None else round(1 / seconds, 6)
    return Start(np.asarray(observations, np.float32), (space.low, space.high), rate)  # pyright: ignore[reportAttributeAccessIssue]


def control_timestep(environment: Any) -> float | None:
    """Returns the time between two actions, in seconds, or None if the environment does not state it.

    The time is read from the attribute `control_timestep` of OGBench's environments, or from Gymnasium's `dt`.
    """
    named = (getattr(environment, name, None) for name in ("control_timestep", "dt"))
    found = (each() if callable(each) else each for each in named)
    return next((float(each) for each in found if isinstance(each, float | int) and each > 0), None)
