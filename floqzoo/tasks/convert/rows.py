"""Builds episodes from data that lack the observation after the last step of an episode."""

import numpy as np

from floqzoo.tasks.input_arrays import Numbers
from floqzoo.tasks.recorded_episodes import RecordedEpisodes, lengths_between, with_final_rows


def episodes_from_rows(
    *,
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    ends: np.ndarray,
    drop_last: bool,
    action_low: Numbers,
    action_high: Numbers,
) -> RecordedEpisodes:
    """Builds episodes from arrays with one row per step; the next observation of a step is in the next row.

    The last row of an episode has no next observation. If this row terminated the episode, TD targets do not depend on
    its next observation, which is set to its own observation. Otherwise, the transition is incomplete. This is an error
    without `drop_last`; with `drop_last`, the transition is dropped, and its observation and action become the final
    observation and the final action of the episode.

    - `ends`: Whether each row is the last of its episode. Must be True for the very last row.

    **Raises** `ValueError` if a transition is incomplete and `drop_last` is False, or if no transition is complete.
    """
    cut = ends & ~terminated
    if cut.any() and not drop_last:
        raise ValueError(
            f"the observation after the last step of an episode is not in the data, and {cut.sum():,} episodes end without "
            f"termination, first in row {np.argmax(cut)}. Set `drop_last` to leave out their last transitions, {cut.sum():,} "
            f"of {len(ends):,}."
        )
    # An episode of one incomplete transition leaves nothing.
    kept = ~(cut & np.concatenate([[True], ends[:-1]]))
    if not kept.any():
        raise ValueError("no transition is complete: each episode has a single row, and no next observation.")
    observations, actions, rewards, terminated, ends, cut = (
        array[kept] for array in (observations, actions, rewards, terminated, ends, cut)
    )
    over = ends & ~cut
    return RecordedEpisodes(
        observations=with_final_rows(observations, over, observations[over]),
        actions=actions[~cut],
        rewards=rewards[~cut],
        terminated=terminated[~cut],
        episode_lengths=lengths_between(ends) - cut[ends],
        # Used only after incomplete transitions, since nothing follows a termination.
        final_actions=actions[ends] if cut.any() else None,
        action_low=action_low,
        action_high=action_high,
    )


def column(array: np.ndarray) -> np.ndarray:
    """Flattens a matrix with one column, which is how some files store vectors; returns any other array unchanged."""
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
