"""Episodes from data that lack the observation after the last step of an episode."""

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
    """Builds episodes from one row for each step; a step's next observation is the observation of the next row.

    The last row of an episode has no next observation. If it terminated, its next observation, on which TD targets do
    not depend, is set to its own observation. Otherwise its transition is incomplete, which is an error without
    `drop_last`; with it, the transition is dropped, and its observation and action become the final ones of the
    episode.

    - `ends`: Whether each row is the last of its episode; True for the very last row.

    **Raises** `ValueError` for an incomplete transition without `drop_last`, and if no transition is left.
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
    """Flattens a matrix with one column, since some files store vectors like this; any other array is unchanged."""
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
