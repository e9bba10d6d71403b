"""Plays episodes, and computes the Monte Carlo return from each step."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from floqzoo.results.play import PlayedStep, play
from floqzoo.rollout.batched_policy import BatchedPolicy
from floqzoo.rollout.episode_player import EpisodePlayer, numpy_state_kept


class PlayedReturns(eqx.Module):
    r"""The steps of several episodes, concatenated, with the return from each step on.

    - `observations`, `actions`: The observation before each step, and the action of the step.
    - `returns`: The return from step $t$ up to the end of the episode, $\sum_{k \ge 0} \gamma^k r_{t+k}$, where
      $\gamma$ is the discount and $r_t$ the reward of step $t$.
    - `unknown`: The weight $\gamma^n$ of the rest of the return, which is unknown if a time limit truncated the episode
      $n$ steps later; 0 if the episode ended at the goal or in another terminal state.
    - `episode`: The index of the episode to which each step belongs.
    - `success`: 1 if the episode reached the goal, else 0; NaN in a task that reports no success.
    """

    observations: Float[np.ndarray, "steps observation"]
    actions: Float[np.ndarray, "steps action"]
    returns: Float[np.ndarray, " steps"]
    unknown: Float[np.ndarray, " steps"]
    episode: Int[np.ndarray, " steps"]
    success: Float[np.ndarray, " steps"]

    def known(self, at_most: float = 0.01) -> Bool[np.ndarray, " steps"]:
        """Returns whether the return from each step is known, i.e. whether `unknown` is at most `at_most`."""
        return self.unknown <= at_most


def played_returns(
    actor: Any,
    make_environment: Callable[[], Any],
    *,
    discount: float,
    episodes: int,
    seed: int,
    pays_next_state: bool = False,
) -> PlayedReturns:
    """Plays the episodes of an evaluation, and computes the return from each step on.

    - `actor`: An agent, or its `ActorCritic`.
    - `make_environment`: A function that creates the environment.
    - `discount`: The discount of the critic, in [0, 1).
    - `episodes`: The number of episodes, at least 1.
    - `seed`: The seed of the evaluation.
    - `pays_next_state`: Whether the environment computes the reward of a step from the next state, although the critic
      was trained with rewards of the current state. If True, the rewards are shifted by one step.

    **Raises** `ValueError` if `episodes` is below 1 or `discount` is out of range.
    """
    if episodes < 1:
        raise ValueError(f"`episodes` must be at least 1; got {episodes}.")
    if not 0 <= discount < 1:
        raise ValueError(f"`discount` must lie in [0, 1); got {discount}.")
    player, policy = EpisodePlayer.of(make_environment), BatchedPolicy(actor, seed)
    parts = []
    try:
        with numpy_state_kept():
            for episode in range(episodes):
                steps = list(play(player, policy, episode=episode, seed=seed))
                parts.append(_of_episode(steps, episode, discount, pays_next_state))
    finally:
        player.environment.close()
    return PlayedReturns(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def returns_to_go(rewards: Float[np.ndarray, " steps"], discount: float) -> Float[np.ndarray, " steps"]:
    r"""Returns the discounted return from each step on, $G_t = r_t + \gamma G_{t+1}$, where $G$ is 0 after the last
    step, $r_t$ are the rewards, and $\gamma$ is the discount."""
    returns, after = np.zeros_like(rewards), 0.0
    for t in reversed(range(len(rewards))):
        returns[t] = after = rewards[t] + discount * after
    return returns


def _of_episode(steps: Sequence[PlayedStep], episode: int, discount: float, pays_next_state: bool) -> tuple:
    returns = returns_to_go(np.array([step.reward for step in steps]), discount)
    if pays_next_state and len(steps) > 1:
        # The reward of step t belongs to the state before step t + 1; that of the first state is unknown.
        steps, returns = steps[1:], returns[:-1]
    count, success, ended = len(steps), steps[-1].success, steps[-1].terminated
    left = np.arange(count, 0, -1)
    return (
        np.stack([step.observation for step in steps]),
        np.stack([step.action for step in steps]),
        returns,
        np.zeros(count) if success > 0 or ended else discount**left,
        np.full(count, episode),
        np.full(count, success),
    )
