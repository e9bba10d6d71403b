"""Reads recorded episodes from D4RL's HDF5 files."""

from pathlib import Path

import numpy as np

from floqzoo.tasks.convert.extras import library
from floqzoo.tasks.convert.rows import column, episodes_from_rows
from floqzoo.tasks.datafile import require_memory
from floqzoo.tasks.input_arrays import Numbers, flags, matrix, require_rows, vector
from floqzoo.tasks.recorded_episodes import RecordedEpisodes, episodes_from_transitions


def episodes_from_d4rl(
    path: str | Path,
    *,
    unordered: bool = False,
    drop_last: bool = False,
    action_low: Numbers = -1.0,
    action_high: Numbers = 1.0,
) -> RecordedEpisodes:
    """Reads episodes from an HDF5 file of D4RL. Needs the extra `floqzoo[d4rl]`.

    The file contains `observations`, `actions`, `rewards`, `terminals`, `timeouts` and optionally `next_observations`,
    with one row per step. A row marked in `terminals` terminates its episode, and a row marked in `timeouts` truncates
    it. Other arrays in the file, such as `infos`, are ignored.

    - `unordered`: Whether the rows are unordered, as in a replay buffer. Each row is then an episode of one step, the
      file must contain `next_observations`, and `timeouts` is ignored.
    - `drop_last`: For a file without `next_observations`, whether to drop the last transition of each truncated
      episode, whose next observation is unknown. If False, truncated episodes raise an error. Terminating transitions
      are kept, with their own observation as the next observation, on which TD targets do not depend.
    - `action_low`, `action_high`: The finite bounds of the environment's action space, each either a single number or
      one number per coordinate.

    **Raises** `FileNotFoundError` if there is no such file; `ValueError` for invalid data (the message names the array,
    the row and the requirement); `ModuleNotFoundError` if h5py is not installed.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    required = ("observations", "actions", "rewards", "terminals", *(() if unordered else ("timeouts",)))
    try:
        arrays = _read(path, (*required, *(("next_observations",) if unordered else ())))
        return _episodes(arrays, unordered, drop_last, action_low, action_high)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _episodes(
    arrays: dict[str, np.ndarray], unordered: bool, drop_last: bool, action_low: Numbers, action_high: Numbers
) -> RecordedEpisodes:
    observations, actions = (matrix(name, arrays[name]) for name in ("observations", "actions"))
    rows = len(observations)
    require_rows(rows, "observations", actions=actions)
    rewards = vector("rewards", column(arrays["rewards"]), rows)
    terminals = flags("terminals", column(arrays["terminals"]), rows)
    timeouts = np.ones(rows, bool) if unordered else flags("timeouts", column(arrays["timeouts"]), rows)
    if "next_observations" in arrays:
        return episodes_from_transitions(
            observations=observations,
            actions=actions,
            rewards=rewards,
            next_observations=arrays["next_observations"],
            terminated=terminals,
            truncated=timeouts,
            action_low=action_low,
            action_high=action_high,
        )
    ends = terminals | timeouts
    ends[-1] = True
    return episodes_from_rows(
        observations=observations,
        actions=actions,
        rewards=rewards,
        terminated=terminals,
        ends=ends,
        drop_last=drop_last,
        action_low=action_low,
        action_high=action_high,
    )


def _read(path: Path, required: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays of these names, and `next_observations` if the file has it."""
    h5py = library("h5py", "d4rl")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"it is truncated, or not an HDF5 file: {error}.") from None
    with file:
        missing = [name for name in required if not isinstance(file.get(name), h5py.Dataset)]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}, and has {', '.join(sorted(file)) or 'nothing'}.")
        names = (*required, *(name for name in ("next_observations",) if name in file and name not in required))
        for name in names:
            if file[name].dtype.hasobject:
                raise ValueError(f"`{name}` must be an array of real numbers; it contains Python objects.")
        require_memory(sum(file[name].nbytes for name in names))
        return {name: _array(name, file[name]) for name in names}


def _array(name: str, dataset) -> np.ndarray:
    if dataset.shape is None:
        raise ValueError(f"`{name}` must be an array of real numbers; it is empty.")
    try:
        return dataset[()]
    except OSError as error:
        raise ValueError(f"`{name}` cannot be read: {error}.") from None
