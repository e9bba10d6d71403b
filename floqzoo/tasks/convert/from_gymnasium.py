"""Records episodes in a Gymnasium environment."""

import operator
from collections.abc import Callable
from typing import Any, SupportsIndex

import numpy as np

from floqzoo.tasks.recorded_episodes import EpisodeArrays, RecordedEpisodes, concatenated_episodes


def record_episodes(
    make_environment: Callable[[], Any],
    policy: Callable[[np.ndarray, np.random.Generator], Any] | None = None,
    *,
    episodes: SupportsIndex,
    seed: SupportsIndex = 0,
    max_episode_steps: SupportsIndex | None = None,
) -> RecordedEpisodes:
    """Plays episodes in a Gymnasium environment whose observations and actions are vectors, and records them.

    - `make_environment`: A function that creates the environment.
    - `policy`: A function that takes an observation and a NumPy random generator, and returns an action; None for
      uniformly random actions.
    - `episodes`: The number of episodes, at least 1.
    - `seed`: The seed of the environment and the policy, at least 0. The same seed gives the same episodes if the
      environment is deterministic given its seed.
    - `max_episode_steps`: The maximum number of steps in an episode; required if the environment has no step limit.

    **Raises** `ValueError` if the spaces of the environment are not supported, if episodes may never end, if a recorded
    number is not finite, or if an argument or an action is out of bounds.
    """
    # Imported here, so that gymnasium is imported only when it is needed.
    from floqzoo.tasks.own_environment import action_bounds_of, with_step_limit

    episodes, seed = operator.index(episodes), operator.index(seed)
    if episodes < 1:
        raise ValueError(f"`episodes` must be at least 1; got {episodes}.")
    if seed < 0:
        raise ValueError(f"`seed` must be at least 0; got {seed}.")
    environment = make_environment()
    try:
        low, high = action_bounds_of(environment)
        limited = with_step_limit(environment, None if max_episode_steps is None else operator.index(max_episode_steps))
        rng = np.random.default_rng(seed)
        chosen = policy if policy is not None else lambda _, rng: rng.uniform(low, high).astype(low.dtype)
        resets = np.random.SeedSequence(seed).generate_state(episodes)
        return concatenated_episodes(
            (_episode(limited, chosen, rng, int(reset)) for reset in resets), action_low=low, action_high=high
        )
    finally:
        environment.close()


def _episode(environment: Any, policy: Callable[..., Any], rng: np.random.Generator, seed: int) -> EpisodeArrays:
    observation, _ = environment.reset(seed=seed)
    observations, actions, rewards, terminated, over = [np.array(observation)], [], [], False, False
    while not over:
        # Copies, as environments and policies may write into arrays that they gave away.
        action = np.array(policy(np.array(observation), rng))
        observation, reward, terminated, truncated, _ = environment.step(action.copy())
        observations.append(np.array(observation))
        actions.append(action)
        rewards.append(float(reward))
        over = terminated or truncated
    return EpisodeArrays(np.array(observations), np.array(actions), np.array(rewards), bool(terminated))
