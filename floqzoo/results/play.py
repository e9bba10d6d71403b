"""Plays an episode step by step; the episode is identical to the evaluation episode with the same index."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from floqzoo.rollout.batched_policy import BatchedPolicy
from floqzoo.rollout.episode_player import EpisodePlayer


@dataclass(frozen=True)
class PlayedStep:
    """One step of an episode.

    - `observation`, `action`: The observation before the step, and the action.
    - `reward`: The reward of the step.
    - `success`: 1 if the environment reported success in this step, else 0; NaN in a task that reports no success.
    - `last`: Whether the episode ended with this step.
    - `terminated`: Whether the episode ended in a terminal state.
    """

    observation: Float[np.ndarray, " observation"]
    action: Float[np.ndarray, " action"]
    reward: float
    success: float
    last: bool
    terminated: bool


def play(player: EpisodePlayer, policy: BatchedPolicy, *, episode: int, seed: int) -> Iterator[PlayedStep]:
    """Plays an episode and yields each of its steps; the environment can be rendered between steps.

    - `player`: The player of the episode, with its environment.
    - `policy`: The policy that chooses the actions.
    - `episode`: The index of the episode in an evaluation, counted from 0.
    - `seed`: The seed of the evaluation.
    """
    player.begin(episode, seed)
    observation, number, over = player.receive_start(), 0, False
    while not over:
        action = policy.actions(observation[None], np.array([episode]), np.array([number]))[0]
        player.step(action)
        outcome = player.receive_step()
        yield PlayedStep(observation, action, outcome.reward, outcome.success, outcome.over, outcome.terminated)
        observation, number, over = outcome.observation, number + 1, outcome.over
