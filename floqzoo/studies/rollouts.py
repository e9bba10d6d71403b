"""Episodes with which the predictions of a successor measure are compared."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from floqzoo.rollout.batched_policy import BatchedPolicy
from floqzoo.tasks.dataset import Dataset


@dataclass(frozen=True)
class Rollout:
    r"""An episode: its initial state $s_0$ and action $a_0$, and the states and rewards to compare with a measure.

    - `observation`, `action`: $s_0$ and $a_0$.
    - `futures`: $s_1, s_2, \dots$, or $s_0, s_1, \dots$ for a measure that starts at the current state.
    - `rewards`: The reward of each state in `futures`.

    **Raises** `ValueError` if there are no futures.
    """

    observation: Float[np.ndarray, " observation"]
    action: Float[np.ndarray, " action"]
    futures: Float[np.ndarray, "steps observation"]
    rewards: Float[np.ndarray, " steps"]

    def __post_init__(self):
        if not len(self.futures):
            raise ValueError("`futures` must have at least 1 state; the episode is too short to compare futures with.")

    def discounted_return(self, discount: float) -> float:
        r"""Computes the return $\sum_{k \ge 0} \gamma^k r_k$ of `rewards`, up to the end of the episode."""
        return float(np.sum(discount ** np.arange(len(self.rewards)) * self.rewards))

    def resampled(
        self, discount: float, count: int, random: np.random.Generator
    ) -> Float[np.ndarray, "count observation"]:
        """Samples `count` futures, at times from a geometric distribution truncated at the end of the episode."""
        weights = discount ** np.arange(len(self.futures))
        return self.futures[random.choice(len(self.futures), count, p=weights / weights.sum())]


def recorded_rollouts(dataset: Dataset, count: int, *, from_current: bool = False) -> list[Rollout]:
    """Returns the first `count` episodes of a dataset, or all if it has fewer.

    - `dataset`: A dataset whose rewards are functions of the current state, as with `reward_timing="pre"` in
      `floqzoo.tasks.load`.
    - `from_current`: Whether futures and rewards start with $s_0$ instead of $s_1$.

    **Raises** `ValueError` if `count` is not positive or an episode is too short to have futures.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1; got {count}.")
    observations, actions, rewards = (
        np.asarray(array) for array in (dataset.observations, dataset.actions, dataset.rewards)
    )
    ends = np.unique(np.asarray(dataset.last))[:count]
    begins = np.concatenate([[0], ends[:-1] + 1])
    skipped = 0 if from_current else 1
    return [
        Rollout(observations[b], actions[b], observations[b + skipped : e + 1], rewards[b + skipped : e + 1])
        for b, e in zip(begins, ends, strict=True)
    ]


def played_rollouts(
    actor: Any, environment: Any, count: int, seed: int, *, from_current: bool = False
) -> list[Rollout]:
    """Plays `count` episodes in an environment whose rewards are functions of the current state.

    - `actor`: An agent, or its `ActorCritic`.
    - `environment`: A Gymnasium environment that ends episodes by truncation only.
    - `from_current`: Whether futures and rewards start with $s_0$ instead of $s_1$.

    **Raises** `ValueError` if `count` is not positive or an episode is too short to have futures; `TypeError` if
    `actor` is a policy without its critic.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1; got {count}.")
    policy = BatchedPolicy(actor, seed)
    skipped = 0 if from_current else 1
    return [_play(policy, environment, episode, seed, skipped) for episode in range(count)]


def _play(policy: BatchedPolicy, environment: Any, episode: int, seed: int, skipped: int) -> Rollout:
    observation, _ = environment.reset(seed=seed + episode)
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    states, actions, rewards, done = [np.asarray(observation, dtype)], [], [], False
    while not done:
        action = policy.actions(states[-1][None], np.array([episode]), np.array([len(actions)]))[0]
        observation, reward, terminated, truncated, _ = environment.step(action)
        states.append(np.asarray(observation, dtype))
        actions.append(action)
        rewards.append(float(reward))
        done = bool(terminated or truncated)
    # The reward of the last state is unknown, since the episode ends before.
    return Rollout(states[0], actions[0], np.stack(states)[skipped:-1], np.array(rewards)[skipped:])
