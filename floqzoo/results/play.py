"""One episode, step by step: the same that an evaluation plays under that number."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from floqzoo.training.batched_policy import BatchedPolicy
from floqzoo.training.episode_player import EpisodePlayer


@dataclass(frozen=True)
class PlayedStep:
    """What happened in one step.

    - `observation`, `action`: Where it began, and what was done.
    - `reward`: What it paid.
    - `success`: Whether it reported success.
    - `last`: Whether the episode was over with it.
    """

    observation: Float[np.ndarray, " observation"]
    action: Float[np.ndarray, " action"]
    reward: float
    success: bool
    last: bool


def play(player: EpisodePlayer, policy: BatchedPolicy, *, episode: int, seed: int) -> Iterator[PlayedStep]:
    """Plays an episode; between two steps the environment stands still, and may be rendered."""
    player.begin(episode, seed)
    last = False
    while not last:
        observation, before = player.observation, player.episode_return
        action = policy.actions(observation[None], np.array([episode]), np.array([player.length]))[0]
        last = player.step(action)
        yield PlayedStep(observation, action, player.episode_return - before, player.success > 0, last)
