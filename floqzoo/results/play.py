"""One episode, step by step: the same that an evaluation plays under that number."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from floqzoo.rollout.batched_policy import BatchedPolicy
from floqzoo.rollout.episode_player import EpisodePlayer


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
    observation, number, over = player.receive_start(), 0, False
    while not over:
        action = policy.actions(observation[None], np.array([episode]), np.array([number]))[0]
        player.step(action)
        outcome = player.receive_step()
        yield PlayedStep(observation, action, outcome.reward, outcome.success > 0, outcome.over)
        observation, number, over = outcome.observation, number + 1, outcome.over
