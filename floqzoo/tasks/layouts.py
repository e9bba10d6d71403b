r"""Datasets from arrays of one's own, in each of the layouts that such arrays have.

| layout | rows | constructor |
|---|---|---|
| transitions | one a step: what a loop over `env.step` records, D4RL | `dataset_from_transitions` |
| episodes | $T + 1$ observations and $T$ actions for each episode | `dataset_from_episodes` |
| states | one a state; the last one of an episode starts no transition: OGBench | `dataset_from_states` |

No reward and no termination of the input is missing from the transitions; arrays that contradict their layout are errors.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from floqzoo.tasks.dataset import Dataset, make_dataset


Numbers = Any
"""An array of NumPy or JAX, or nested lists of numbers."""


@dataclass(frozen=True)
class EpisodeArrays:
    """One episode of $T$ steps.

    - `observations`: $T + 1$ rows, from the reset to the last step.
    - `actions`, `rewards`: $T$ rows; row $t$ is the step from observation $t$ to $t + 1$.
    - `terminated`: Whether it ended in a terminal state; else it was truncated, and its last state has a value.
    """

    observations: Numbers
    actions: Numbers
    rewards: Numbers
    terminated: bool


@dataclass(frozen=True)
class DatasetSummary:
    """What a dataset holds, to compare with what was meant; `str` gives three lines.

    - `episodes`, `transitions`: How many.
    - `terminations`: Transitions into a terminal state.
    - `truncations`: Episodes whose last transition is none.
    - `reward_range`, `return_range`: The least and the greatest, of a transition and of an episode, undiscounted.
    - `mean_return`: Of an episode.
    - `observation_dim`, `action_dim`: Numbers in each.
    - `without_next_action`: Transitions that readers of next actions leave out, as the action after them is unknown.
    """

    episodes: int
    transitions: int
    terminations: int
    truncations: int
    reward_range: tuple[float, float]
    return_range: tuple[float, float]
    mean_return: float
    observation_dim: int
    action_dim: int
    without_next_action: int

    def __str__(self) -> str:
        """Three lines."""
        lines = [
            f"{self.transitions:,} transitions in {self.episodes:,} episodes: {self.terminations:,} terminations, "
            f"{self.truncations:,} truncated episodes",
            f"observations of {self.observation_dim} numbers, actions of {self.action_dim}",
            f"rewards from {self.reward_range[0]:g} to {self.reward_range[1]:g}; returns from "
            f"{self.return_range[0]:g} to {self.return_range[1]:g}, mean {self.mean_return:g}",
        ]
        if self.without_next_action:
            lines.append(f"{self.without_next_action:,} transitions have no known next action")
        return "\n".join(lines)


def summarise(dataset: Dataset) -> DatasetSummary:
    """Counts what a dataset holds."""
    starts, last, rewards, masks = (
        np.asarray(array) for array in (dataset.starts, dataset.last, dataset.rewards, dataset.masks)
    )
    ends, episode = np.unique(last[starts], return_inverse=True)
    returns = np.bincount(episode, rewards[starts].astype(np.float64))
    is_last = starts + 1 == last[starts]
    known = dataset.size if dataset.next_starts is None else dataset.next_starts.shape[0]
    return DatasetSummary(
        episodes=len(ends),
        transitions=dataset.size,
        terminations=int((masks[starts] == 0).sum()),
        truncations=int((masks[starts][is_last] != 0).sum()),
        reward_range=dataset.reward_range,
        return_range=(float(returns.min()), float(returns.max())),
        mean_return=float(returns.mean()),
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
    r"""A dataset from one row for each step, episodes one after another: what a loop over `env.step` records.

    Row $t$ is the transition $(s_t, a_t, r_t, s_{t+1})$. A row that is neither terminated nor truncated is followed by the
    row of $s_{t+1}$; transitions in no order are each `truncated`. A last row that neither terminated nor was truncated
    counts as truncated: the recording ended there.

    - `observations`, `next_observations`: `(steps, observation)`.
    - `actions`: `(steps, action)`, between `action_low` and `action_high`, which are mapped to -1 and 1.
    - `rewards`, `terminated`, `truncated`: `(steps,)`; the last two of booleans, or of 0 and 1.
    - `action_low`, `action_high`: The bounds of the environment's action space, finite; a number, or one for each coordinate.

    Numbers are stored as JAX's default floating dtype, float32 unless 64 bits are enabled.

    **Raises** `ValueError`, which names the array, the row, its value and what it must be.
    """
    rows, next_rows, action_rows = (
        _matrix(name, value)
        for name, value in (
            ("observations", observations),
            ("next_observations", next_observations),
            ("actions", actions),
        )
    )
    steps = len(rows)
    _require_rows(steps, "observations", next_observations=next_rows, actions=action_rows)
    reward_rows = _vector("rewards", rewards, steps)
    terminal, cut = (
        _flags(name, value, steps) for name, value in (("terminated", terminated), ("truncated", truncated))
    )
    if next_rows.shape[1] != rows.shape[1]:
        raise ValueError(
            f"`next_observations` must have {rows.shape[1]} columns, as `observations` has; got {next_rows.shape[1]}."
        )
    ends = terminal | cut
    torn = np.flatnonzero(~ends[:-1] & (rows[1:] != next_rows[:-1]).any(axis=1))
    if len(torn):
        row = int(torn[0])
        raise ValueError(
            f"`observations` of row {row + 1} must be `next_observations` of row {row}, which neither terminated nor was "
            f"truncated; they differ in {len(torn):,} rows. Set `truncated` where an episode was cut, and in every row if "
            "the transitions are in no order."
        )
    ends[-1] = True
    # Each episode has one more state than it has steps.
    place = np.arange(steps) + np.concatenate([[0], np.cumsum(ends)[:-1]])
    states = steps + int(ends.sum())
    last_states = place[ends] + 1
    return _assembled(
        observations=_filled(states, (place, rows), (last_states, next_rows[ends])),
        actions=_filled(states, (place, _rescaled(action_rows, action_low, action_high))),
        rewards=_filled(states, (place, reward_rows)),
        masks=_filled(states, (place, ~terminal), (last_states, np.ones(len(last_states)))),
        last_states=last_states,
        terminal_ends=terminal[ends],
    )


def dataset_from_episodes(
    episodes: Iterable[EpisodeArrays], *, action_low: Numbers = -1.0, action_high: Numbers = 1.0
) -> Dataset:
    """A dataset from whole episodes, each with one observation more than it has actions.

    - `action_low`, `action_high`: As `dataset_from_transitions` takes them.

    **Raises** `ValueError`, which names the episode, the array and what it must be.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in _STEP_ARRAYS}
    for number, episode in enumerate(episodes):
        try:
            states = _matrix("observations", episode.observations)
            actions = _matrix("actions", episode.actions)
            if len(states) != len(actions) + 1:
                raise ValueError(
                    f"`observations` must have {len(actions) + 1} rows, one more than `actions`; got {len(states)}."
                )
            rewards = _vector("rewards", episode.rewards, len(actions))
        except ValueError as error:
            raise ValueError(f"episode {number}: {error}") from None
        is_last = np.arange(len(actions)) == len(actions) - 1
        for name, array in {
            "observations": states[:-1],
            "next_observations": states[1:],
            "actions": actions,
            "rewards": rewards,
            "terminated": is_last & bool(episode.terminated),
            "truncated": is_last & (not episode.terminated),
        }.items():
            if parts[name] and array.shape[1:] != parts[name][0].shape[1:]:
                raise ValueError(
                    f"episode {number}: `{name}` must have {parts[name][0].shape[1]} columns, as in the episodes before; got "
                    f"{array.shape[1]}."
                )
            parts[name].append(array)
    if not parts["rewards"]:
        raise ValueError("`episodes` must hold at least one episode; got none.")
    arrays = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    return dataset_from_transitions(**arrays, action_low=action_low, action_high=action_high)


def dataset_from_states(
    *, observations: Numbers, actions: Numbers, rewards: Numbers, masks: Numbers, terminals: Numbers
) -> Dataset:
    """A dataset from one row for each state, as OGBench's files have it: the last row of an episode starts no transition.

    - `observations`, `actions`: `(states, ...)`; actions in [-1, 1], in the last row of an episode too.
    - `rewards`, `masks`: `(states,)`, of the transition that starts at a state; a mask is 0 if that terminates, else 1. In
      the last row of an episode they must be 0 and 1, as nothing starts there.
    - `terminals`: `(states,)`, whether a row is the last of its episode.

    **Raises** `ValueError`, which names the array, the row, its value and what it must be.
    """
    state_rows, action_rows = _matrix("observations", observations), _matrix("actions", actions)
    states = len(state_rows)
    _require_rows(states, "observations", actions=action_rows)
    reward_rows, mask_rows = _vector("rewards", rewards, states), _vector("masks", masks, states)
    ends = _flags("terminals", terminals, states)
    for name, array, nothing in (("rewards", reward_rows, 0.0), ("masks", mask_rows, 1.0)):
        lost = np.flatnonzero(ends & (array != nothing))
        if len(lost):
            raise ValueError(
                f"`{name}` must be {nothing:g} in the last row of an episode, where no transition starts; row {lost[0]} has "
                f"{array[lost[0]]:g}. Arrays with one row for each step belong to `dataset_from_transitions`."
            )
    return make_dataset(
        observations=state_rows, actions=action_rows, rewards=reward_rows, masks=mask_rows, terminals=ends
    )


_STEP_ARRAYS = ("observations", "next_observations", "actions", "rewards", "terminated", "truncated")


def _assembled(
    *,
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    masks: np.ndarray,
    last_states: np.ndarray,
    terminal_ends: np.ndarray,
) -> Dataset:
    """A dataset whose last states have no action; where an episode terminated, none is needed."""
    terminals = np.zeros(len(observations), bool)
    terminals[last_states] = True
    dataset = make_dataset(
        observations=observations, actions=actions, rewards=rewards, masks=masks, terminals=terminals
    )
    if terminal_ends.all():
        return dataset
    starts, last = np.asarray(dataset.starts), np.asarray(dataset.last)
    is_cut = ~terminal_ends[np.searchsorted(last_states, last)]
    shorter = last - is_cut
    next_starts = starts[starts < shorter[starts]]
    return replace(dataset, next_starts=jnp.asarray(next_starts), next_last=jnp.asarray(shorter.astype(last.dtype)))


def _filled(rows: int, *parts: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Zeros, with values in some rows."""
    first = parts[0][1]
    array = np.zeros((rows, *first.shape[1:]), _dtype())
    for at, values in parts:
        array[at] = values
    return array


def _dtype() -> np.dtype:
    return jax.dtypes.canonicalize_dtype(np.float64)


def _matrix(name: str, value: Numbers) -> Float[np.ndarray, "rows columns"]:
    array = _numbers(name, value)
    if array.ndim != 2 or not array.size:
        raise ValueError(
            f"`{name}` must have two axes, rows and coordinates, none of them empty; got the shape {array.shape}."
        )
    return array


def _vector(name: str, value: Numbers, rows: int) -> Float[np.ndarray, " rows"]:
    array = _numbers(name, value)
    if array.shape != (rows,):
        raise ValueError(f"`{name}` must have the shape {(rows,)}; got {array.shape}.")
    return array


def _numbers(name: str, value: Numbers) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # Of rows of different lengths.
        array = np.empty(0, object)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"`{name}` must be an array of real numbers; got {_kind(value, array)}.")
    with np.errstate(over="ignore"):
        stored = array.astype(_dtype())
    if not np.isfinite(stored).all():
        row = int(np.argwhere(~np.isfinite(stored))[0][0]) if stored.ndim else 0
        raise ValueError(f"`{name}` must be finite; row {row} has {array[row] if array.ndim else array}.")
    return stored


def _kind(value: Numbers, array: np.ndarray) -> str:
    if isinstance(value, Sequence) and array.dtype == object:
        return "a list of unequal rows or of other objects"
    return f"dtype {array.dtype}"


def _flags(name: str, value: Numbers, rows: int) -> Bool[np.ndarray, " rows"]:
    array = np.asarray(value)
    if array.shape != (rows,):
        raise ValueError(f"`{name}` must have the shape {(rows,)}; got {array.shape}.")
    if array.dtype != np.bool_ and not (array.dtype.kind in "fiu" and np.isin(array, (0, 1)).all()):
        raise ValueError(f"`{name}` must hold booleans, or 0 and 1; got dtype {array.dtype}{_odd_value(array)}.")
    return array.astype(bool)


def _odd_value(array: np.ndarray) -> str:
    odd = array[~np.isin(array, (0, 1))] if array.dtype.kind in "fiu" else array[:0]
    return f" with the value {odd[0]}" if len(odd) else ""


def _require_rows(rows: int, like: str, **arrays: np.ndarray) -> None:
    for name, array in arrays.items():
        if len(array) != rows:
            raise ValueError(f"`{name}` must have {rows} rows, as `{like}` has; got {len(array)}.")


def _rescaled(actions: np.ndarray, low: Numbers, high: Numbers) -> np.ndarray:
    """Actions in [-1, 1]."""
    low, high = (_bound(name, value, actions) for name, value in (("action_low", low), ("action_high", high)))
    if not (low < high).all():
        raise ValueError(f"`action_low` must be below `action_high`; got {low.tolist()} and {high.tolist()}.")
    outside = np.argwhere((actions < low) | (actions > high))
    if len(outside):
        row, column = (int(index) for index in outside[0])
        raise ValueError(
            f"`actions` must lie between `action_low` and `action_high`; coordinate {column} of row {row} is "
            f"{actions[row, column]:g}, outside of [{low[column]:g}, {high[column]:g}]."
        )
    if (low == -1).all() and (high == 1).all():
        return actions
    # In double precision, and then at most 1 in size: the bounds themselves are mapped to -1 and 1.
    unit = 2 * (actions.astype(np.float64) - low) / (high.astype(np.float64) - low) - 1
    return np.clip(unit, -1, 1).astype(actions.dtype)


def _bound(name: str, value: Numbers, actions: np.ndarray) -> np.ndarray:
    bound = np.asarray(value, actions.dtype)
    if bound.shape not in ((), actions.shape[1:]) or not np.isfinite(bound).all():
        raise ValueError(
            f"`{name}` must be a finite number, or {actions.shape[1]} of them, one for each coordinate of an action; "
            f"got {value!r}."
        )
    return np.broadcast_to(bound, actions.shape[1:])
