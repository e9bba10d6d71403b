r"""Recorded episodes as arrays, which keep the units and the dtypes of the recording."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from floqzoo.tasks.dataset import Dataset, make_dataset
from floqzoo.tasks.input_arrays import (
    Numbers,
    action_bounds,
    flags,
    matrix,
    require_rows,
    require_zeros_and_ones,
    storage_dtype,
    vector,
)


@dataclass(frozen=True)
class EpisodeArrays:
    """The arrays of one episode of $T$ steps.

    - `observations`: $T + 1$ rows, from the observation at the reset to the observation after the last step.
    - `actions`, `rewards`: $T$ rows; row $t$ is the step from observation $t$ to observation $t + 1$.
    - `terminated`: Whether the episode ended in a terminal state. If not, it was truncated, and TD targets bootstrap
      from its last state. An array of $T$ flags, one per step, is also accepted.
    """

    observations: Numbers
    actions: Numbers
    rewards: Numbers
    terminated: Numbers


@dataclass(frozen=True, kw_only=True)
class RecordedEpisodes:
    r"""Recorded episodes, stored in concatenated arrays.

    Episode $i$ has $T_i$ steps and $T_i + 1$ observations. [`write_episodes`][floqzoo.tasks.write_episodes] writes the
    episodes to a file.

    - `observations`: `(steps + episodes, observation)`.
    - `actions`: `(steps, action)`, between `action_low` and `action_high`.
    - `rewards`: `(steps,)`.
    - `terminated`: `(steps,)`, whether each step led to a terminal state. An episode whose last step did not terminate
      was truncated.
    - `episode_lengths`: `(episodes,)`, the number of steps in each episode, $T_i \ge 1$.
    - `final_actions`: `(episodes, action)`, the action at the last observation of each episode; None if unknown.
    - `action_low`, `action_high`: The finite bounds of the environment's action space, each either a single number or
      one number per coordinate.

    Observations, actions and rewards keep their dtypes.

    **Raises** `ValueError` for invalid arrays; the message names the array, the row, its value and the requirement.
    """

    observations: Numbers
    actions: Numbers
    rewards: Numbers
    terminated: Numbers
    episode_lengths: Numbers
    final_actions: Numbers | None = None
    action_low: Numbers = -1.0
    action_high: Numbers = 1.0

    def __post_init__(self):
        lengths = _lengths(self.episode_lengths)
        observations, actions = matrix("observations", self.observations), matrix("actions", self.actions)
        steps = int(lengths.sum())
        if len(actions) != steps:
            raise ValueError(f"`actions` must have {steps} rows, the sum of `episode_lengths`; got {len(actions)}.")
        if len(observations) != steps + len(lengths):
            raise ValueError(
                f"`observations` must have {steps + len(lengths)} rows, the sum of `episode_lengths` and one more for each "
                f"episode; got {len(observations)}."
            )
        low, high = action_bounds(actions, self.action_low, self.action_high)
        checked = {
            "observations": observations,
            "actions": actions,
            "rewards": vector("rewards", self.rewards, steps),
            "terminated": flags("terminated", self.terminated, steps),
            "episode_lengths": lengths,
            "action_low": low,
            "action_high": high,
        }
        if self.final_actions is not None:
            final = matrix("final_actions", self.final_actions)
            if final.shape != (len(lengths), actions.shape[1]):
                raise ValueError(
                    f"`final_actions` must have the shape {(len(lengths), actions.shape[1])}, one action for each episode; "
                    f"got {final.shape}."
                )
            action_bounds(final, low, high)
            checked["final_actions"] = final
        for name, array in checked.items():
            object.__setattr__(self, name, array)

    def dataset(self) -> Dataset:
        """Builds a dataset on the device, in JAX's default floating dtype and with actions rescaled to [-1, 1].

        If the action at the last observation of a truncated episode is unknown, `Dataset.with_next_actions` drops the
        last transition of the episode.
        """
        states = len(self.observations)
        last_states = np.cumsum(self.episode_lengths + 1) - 1
        place = np.delete(np.arange(states), last_states)
        actions = np.zeros((states, self.actions.shape[1]), storage_dtype())
        actions[place] = self._unit(self.actions)
        rewards, masks = np.zeros(states, storage_dtype()), np.ones(states, storage_dtype())
        rewards[place], masks[place] = self.rewards, ~self.terminated
        terminals = np.zeros(states, bool)
        terminals[last_states] = True
        needs_no_action = self.terminated[np.cumsum(self.episode_lengths) - 1]
        if self.final_actions is not None:
            actions[last_states] = self._unit(self.final_actions)
            needs_no_action = np.ones_like(needs_no_action)
        dataset = make_dataset(
            observations=self.observations.astype(storage_dtype(), copy=False),
            actions=actions,
            rewards=rewards,
            masks=masks,
            terminals=terminals,
        )
        low, high = np.asarray(self.action_low), np.asarray(self.action_high)
        dataset = replace(dataset, action_bounds=(tuple(low.tolist()), tuple(high.tolist())))
        return dataset if needs_no_action.all() else _without_next_actions(dataset, last_states[~needs_no_action])

    def _unit(self, actions: np.ndarray) -> np.ndarray:
        """The actions, rescaled from their bounds to [-1, 1]."""
        if (self.action_low == -1).all() and (self.action_high == 1).all():
            return actions
        # In double precision and clipped, so that the bounds themselves are mapped to -1 and 1.
        low, high = self.action_low.astype(np.float64), self.action_high.astype(np.float64)
        return np.clip(2 * (actions.astype(np.float64) - low) / (high - low) - 1, -1, 1)


def episodes_from_transitions(
    *,
    observations: Numbers,
    actions: Numbers,
    rewards: Numbers,
    next_observations: Numbers,
    terminated: Numbers,
    truncated: Numbers,
    action_low: Numbers = -1.0,
    action_high: Numbers = 1.0,
) -> RecordedEpisodes:
    """Builds episodes from arrays with one row per step, as in
    [`dataset_from_transitions`][floqzoo.tasks.dataset_from_transitions].

    **Raises** `ValueError` for invalid arrays; the message names the array, the row, its value and the requirement.
    """
    rows, next_rows, action_rows = (
        matrix(name, value)
        for name, value in (
            ("observations", observations),
            ("next_observations", next_observations),
            ("actions", actions),
        )
    )
    steps = len(rows)
    require_rows(steps, "observations", next_observations=next_rows, actions=action_rows)
    reward_rows = vector("rewards", rewards, steps)
    terminal, cut = (
        flags(name, value, steps) for name, value in (("terminated", terminated), ("truncated", truncated))
    )
    if next_rows.shape[1] != rows.shape[1]:
        raise ValueError(
            f"`next_observations` must have {rows.shape[1]} columns, as `observations` has; got {next_rows.shape[1]}."
        )
    ends = terminal | cut
    stored, next_stored = (array.astype(storage_dtype(), copy=False) for array in (rows, next_rows))
    torn = np.flatnonzero(~ends[:-1] & (stored[1:] != next_stored[:-1]).any(axis=1))
    if len(torn):
        row = int(torn[0])
        raise ValueError(
            f"`observations` of row {row + 1} must be `next_observations` of row {row}, which neither terminated nor was "
            f"truncated; {len(torn):,} rows differ. Set `truncated` where an episode was cut, and in every row if "
            "the transitions are unordered."
        )
    ends[-1] = True
    return RecordedEpisodes(
        observations=with_final_rows(rows, ends, next_rows[ends]),
        actions=action_rows,
        rewards=reward_rows,
        terminated=terminal,
        episode_lengths=lengths_between(ends),
        action_low=action_low,
        action_high=action_high,
    )


def concatenated_episodes(
    episodes: Iterable[EpisodeArrays], *, action_low: Numbers = -1.0, action_high: Numbers = 1.0
) -> RecordedEpisodes:
    """Concatenates the arrays of one or more episodes.

    **Raises** `ValueError` for invalid arrays; the message names the episode, the array and the requirement.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("observations", "actions", "rewards", "terminated")}
    for number, episode in enumerate(episodes):
        try:
            arrays = _checked_episode(episode)
        except ValueError as error:
            raise ValueError(f"episode {number}: {error}") from None
        for name, array in arrays.items():
            if parts[name] and array.shape[1:] != parts[name][0].shape[1:]:
                raise ValueError(
                    f"episode {number}: `{name}` must have {parts[name][0].shape[1]} columns, as in the episodes before; got "
                    f"{array.shape[1]}."
                )
            parts[name].append(array)
    if not parts["rewards"]:
        raise ValueError("`episodes` must contain at least one episode; got none.")
    return RecordedEpisodes(
        **{name: np.concatenate(arrays) for name, arrays in parts.items()},
        episode_lengths=np.array([len(rewards) for rewards in parts["rewards"]]),
        action_low=action_low,
        action_high=action_high,
    )


def episodes_from_states(
    *, observations: Numbers, actions: Numbers, rewards: Numbers, masks: Numbers, terminals: Numbers
) -> RecordedEpisodes:
    """Builds episodes from arrays with one row per state, as in
    [`dataset_from_states`][floqzoo.tasks.dataset_from_states].

    **Raises** `ValueError` for invalid arrays; the message names the array, the row, its value and the requirement.
    """
    state_rows, action_rows = matrix("observations", observations), matrix("actions", actions)
    states = len(state_rows)
    require_rows(states, "observations", actions=action_rows)
    reward_rows, mask_rows = vector("rewards", rewards, states), vector("masks", masks, states)
    ends = flags("terminals", terminals, states)
    for name, array, nothing in (("rewards", reward_rows, 0.0), ("masks", mask_rows, 1.0)):
        lost = np.flatnonzero(ends & (array != nothing))
        if len(lost):
            raise ValueError(
                f"`{name}` must be {nothing:g} in the last row of an episode, where no transition starts; row {lost[0]} has "
                f"{array[lost[0]]:g}. For arrays with one row for each step, use `dataset_from_transitions`."
            )
    require_zeros_and_ones("`masks`", mask_rows)
    return episodes_of_states(
        observations=state_rows, actions=action_rows, rewards=reward_rows, terminated=mask_rows == 0, ends=ends
    )


def episodes_of_states(
    *, observations: np.ndarray, actions: np.ndarray, rewards: np.ndarray, terminated: np.ndarray, ends: np.ndarray
) -> RecordedEpisodes:
    """Builds episodes from arrays with one row per state.

    Rewards and terminations in the last row of an episode are ignored.

    **Raises** `ValueError` if the very last row does not end an episode, or if no row starts a transition.
    """
    if not ends[-1]:
        raise ValueError("`terminals` does not end with True; the last state must end its episode (a truncated file?).")
    # A state that is an episode of its own starts no transition.
    lonely = ends & np.concatenate([[True], ends[:-1]])
    if lonely.all():
        raise ValueError("`terminals` is True everywhere; an episode of one state contains no transition.")
    rows, action_rows, is_last = observations[~lonely], actions[~lonely], ends[~lonely]
    return RecordedEpisodes(
        observations=rows,
        actions=action_rows[~is_last],
        rewards=rewards[~ends],
        terminated=terminated[~ends],
        episode_lengths=lengths_between(is_last) - 1,
        final_actions=action_rows[is_last],
    )


def lengths_between(ends: np.ndarray) -> np.ndarray:
    """Returns the number of rows in each episode, given whether each row is the last one of its episode."""
    return np.diff(np.flatnonzero(ends), prepend=-1)


def with_final_rows(rows: np.ndarray, ends: np.ndarray, final_rows: np.ndarray) -> np.ndarray:
    """Inserts the final row of each episode after the row of its last step."""
    return np.insert(rows.astype(np.result_type(rows, final_rows), copy=False), np.flatnonzero(ends) + 1, final_rows, 0)


def _checked_episode(episode: EpisodeArrays) -> dict[str, np.ndarray]:
    states, actions = matrix("observations", episode.observations), matrix("actions", episode.actions)
    if len(states) != len(actions) + 1:
        raise ValueError(
            f"`observations` must have {len(actions) + 1} rows, one more than `actions`; got {len(states)}."
        )
    terminated = np.asarray(episode.terminated)
    if not terminated.ndim:
        (at_end,) = flags("terminated", terminated[None], 1)
        terminated = (np.arange(len(actions)) == len(actions) - 1) & at_end
    return {
        "observations": states,
        "actions": actions,
        "rewards": vector("rewards", episode.rewards, len(actions)),
        "terminated": flags("terminated", terminated, len(actions)),
    }


def _lengths(value: Numbers) -> np.ndarray:
    lengths = np.asarray(value)
    if lengths.ndim != 1 or not lengths.size or lengths.dtype.kind not in "iu":
        raise ValueError(
            "`episode_lengths` must be a vector of at least one whole number; got the shape "
            f"{lengths.shape} and dtype {lengths.dtype}."
        )
    if (lengths < 1).any():
        episode = int(np.argmax(lengths < 1))
        raise ValueError(f"`episode_lengths` must be at least 1; episode {episode} has {lengths[episode]}.")
    return lengths.astype(np.int64)


def _without_next_actions(dataset: Dataset, cut_states: np.ndarray) -> Dataset:
    """Sets `next_starts` and `next_last` of a dataset in which the actions at these last states are unknown."""
    starts, last = np.asarray(dataset.starts), np.asarray(dataset.last)
    shorter = last - np.isin(last, cut_states)
    next_starts = starts[starts < shorter[starts]]
    return replace(dataset, next_starts=jnp.asarray(next_starts), next_last=jnp.asarray(shorter.astype(last.dtype)))
