r"""Builds datasets from your own arrays, in any of three common layouts.

| layout | rows | constructor |
|---|---|---|
| transitions | one per step, as a loop over `env.step` records them; D4RL | `dataset_from_transitions` |
| episodes | $T + 1$ observations and $T$ actions for each episode | `dataset_from_episodes` |
| states | one per state; no transition starts at the last state of an episode; OGBench | `dataset_from_states` |

No reward or termination of the input is lost, and arrays that contradict their layout raise an error.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from floqzoo.tasks.dataset import Dataset
from floqzoo.tasks.input_arrays import Numbers
from floqzoo.tasks.recorded_episodes import (
    EpisodeArrays,
    concatenated_episodes,
    episodes_from_states,
    episodes_from_transitions,
)


@dataclass(frozen=True)
class DatasetSummary:
    """A summary of a dataset, for checking that it contains what you expect; `str` formats it as three to five lines.

    - `episodes`, `transitions`: The number of episodes and the number of transitions.
    - `terminations`: The number of transitions into a terminal state.
    - `truncations`: The number of episodes whose last transition does not terminate.
    - `reward_range`, `return_range`: The minimum and the maximum reward of a transition, and the minimum and the
      maximum undiscounted return of an episode.
    - `ending_rewards`, `other_rewards`: The minimum and the maximum reward over the terminating transitions (or, if
      there are none, over the last transitions of the episodes), and over all other transitions. They show whether the
      reward for a goal is given in the step that reaches it or in the next step. None if there are no such transitions.
    - `mean_return`: The mean undiscounted return of an episode.
    - `observation_dim`, `action_dim`: The number of coordinates of an observation and of an action.
    - `without_next_action`: The number of transitions whose next action is unknown; see `Dataset.with_next_actions`.
    """

    episodes: int
    transitions: int
    terminations: int
    truncations: int
    reward_range: tuple[float, float]
    return_range: tuple[float, float]
    mean_return: float
    ending_rewards: tuple[float, float] | None
    other_rewards: tuple[float, float] | None
    observation_dim: int
    action_dim: int
    without_next_action: int

    def __str__(self) -> str:
        """Returns three lines of text, plus one for `ending_rewards` and one for unknown next actions, if any."""
        lines = [
            f"{counted(self.transitions, 'transition')} in {counted(self.episodes, 'episode')}: "
            f"{counted(self.terminations, 'termination')}, {counted(self.truncations, 'truncated episode')}",
            f"observations of {counted(self.observation_dim, 'number')}, actions of {self.action_dim}",
            f"rewards {_text(self.reward_range)}; returns {_text(self.return_range)}, mean {self.mean_return:g}",
        ]
        if self.ending_rewards is not None:
            others = "" if self.other_rewards is None else f", of all others {_text(self.other_rewards)}"
            which = "the transitions that terminate" if self.terminations else "the last transitions of episodes"
            lines.append(f"rewards of {which} {_text(self.ending_rewards)}{others}")
        if self.without_next_action:
            have = "has" if self.without_next_action == 1 else "have"
            lines.append(f"{counted(self.without_next_action, 'transition')} {have} no known next action")
        return "\n".join(lines)


def counted(number: int, noun: str) -> str:
    """Formats a number with its noun, such as "1 episode" or "1,000 episodes"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _text(limits: tuple[float, float]) -> str:
    return f"from {limits[0]:g} to {limits[1]:g}"


def _range(numbers: np.ndarray) -> tuple[float, float] | None:
    return (float(numbers.min()), float(numbers.max())) if numbers.size else None


def summarise(dataset: Dataset) -> DatasetSummary:
    """Returns a summary of a dataset, such as its number of episodes and the range of its rewards."""
    starts, last, rewards, masks = (
        np.asarray(array) for array in (dataset.starts, dataset.last, dataset.rewards, dataset.masks)
    )
    ends, episode = np.unique(last[starts], return_inverse=True)
    returns = np.bincount(episode, rewards[starts].astype(np.float64))
    is_last = starts + 1 == last[starts]
    terminates = masks[starts] == 0
    ending = terminates if terminates.any() else is_last
    known = dataset.size if dataset.next_starts is None else dataset.next_starts.shape[0]
    return DatasetSummary(
        episodes=len(ends),
        transitions=dataset.size,
        terminations=int(terminates.sum()),
        truncations=int((~terminates[is_last]).sum()),
        reward_range=dataset.reward_range,
        return_range=(float(returns.min()), float(returns.max())),
        mean_return=float(returns.mean()),
        ending_rewards=_range(rewards[starts][ending]),
        other_rewards=_range(rewards[starts][~ending]),
        observation_dim=dataset.observations.shape[1],
        action_dim=dataset.actions.shape[1],
        without_next_action=dataset.size - known,
    )


def dataset_from_transitions(
    *,
    observations: Numbers,
    actions: Numbers,
    rewards: Numbers,
    next_observations: Numbers,
    terminated: Numbers,
    truncated: Numbers,
    action_low: Numbers = -1.0,
    action_high: Numbers = 1.0,
) -> Dataset:
    r"""Builds a dataset from arrays with one row per step, in the order in which a loop over `env.step` records them.

    Row $t$ is the transition $(s_t, a_t, r_t, s_{t+1})$. A row that is neither terminated nor truncated must be
    followed by a row whose observation is $s_{t+1}$. If the transitions are unordered, set `truncated` in every row. If
    the very last row is neither terminated nor truncated, it counts as truncated.

    - `observations`, `next_observations`: `(steps, observation)`.
    - `actions`: `(steps, action)`, between `action_low` and `action_high`, which are mapped to -1 and 1.
    - `rewards`, `terminated`, `truncated`: `(steps,)`. The last two contain booleans, or 0 and 1.
    - `action_low`, `action_high`: The finite bounds of the environment's action space, each either a single number or
      one number per coordinate.

    Numbers are stored in JAX's default floating dtype, which is float32 unless `jax_enable_x64` is set.

    **Raises** `ValueError` for invalid arrays; the message names the array, the requirement and the invalid value.
    """
    return episodes_from_transitions(
        observations=observations,
        actions=actions,
        rewards=rewards,
        next_observations=next_observations,
        terminated=terminated,
        truncated=truncated,
        action_low=action_low,
        action_high=action_high,
    ).dataset()


def dataset_from_episodes(
    episodes: Iterable[EpisodeArrays], *, action_low: Numbers = -1.0, action_high: Numbers = 1.0
) -> Dataset:
    """Builds a dataset from complete episodes, each of which has one more observation than actions.

    - `action_low`, `action_high`: As in `dataset_from_transitions`.

    **Raises** `ValueError` for invalid arrays; the message names the episode, the array and the requirement.
    """
    return concatenated_episodes(episodes, action_low=action_low, action_high=action_high).dataset()


def dataset_from_states(
    *, observations: Numbers, actions: Numbers, rewards: Numbers, masks: Numbers, terminals: Numbers
) -> Dataset:
    """Builds a dataset from arrays with one row per state, as in OGBench's files.

    No transition starts in the last row of an episode.

    - `observations`, `actions`: `(states, ...)`. Actions lie in [-1, 1], including those in the last rows of episodes.
    - `rewards`, `masks`: `(states,)`, the reward and the mask of the transition that starts at each state. A mask is 0
      if the transition terminates, and 1 otherwise. In the last row of an episode, where no transition starts, the
      reward must be 0 and the mask 1.
    - `terminals`: `(states,)`, whether each row is the last of its episode.

    **Raises** `ValueError` for invalid arrays; the message names the array, the requirement and the invalid value.
    """
    dataset = episodes_from_states(
        observations=observations, actions=actions, rewards=rewards, masks=masks, terminals=terminals
    ).dataset()
    return replace(dataset, action_bounds=None)  # as in OGBench's files: the environment's bounds are unknown
