"""Reads recorded episodes from OGBench's npz files."""

from pathlib import Path

import numpy as np

from floqzoo.tasks.datafile import opened_npz, read_arrays, require_arrays
from floqzoo.tasks.load import labelled_arrays
from floqzoo.tasks.names import task_name
from floqzoo.tasks.recorded_episodes import RecordedEpisodes, episodes_from_states, episodes_of_states
from floqzoo.tasks.simulator import make


def episodes_from_ogbench(path: str | Path, *, env_name: str | None = None) -> RecordedEpisodes:
    """Reads episodes from an OGBench npz file, which has one row for each state.

    The array `terminals` marks the last row of each episode. OGBench's own files contain no rewards; set `env_name` to
    compute the rewards of a single task, as [`load`][floqzoo.tasks.load.load] does. The action at the last state of
    each episode is kept.

    - `env_name`: The single task whose rewards are computed, such as "cube-single-play-singletask-v0"; this needs the
      extra `floqzoo[ogbench]`. None uses the `rewards` and `masks` in the file. In the last row of an episode, where no
      transition starts, the reward must then be 0 and the mask 1.

    **Raises** `FileNotFoundError` if there is no such file; `ValueError` for an invalid task or invalid data (the
    message names the array, the row and the requirement); `ModuleNotFoundError` if `env_name` is set but OGBench is not
    installed.
    """
    path = Path(path).expanduser()
    if env_name is None:
        names = ("observations", "actions", "rewards", "masks", "terminals")
        with opened_npz(path) as archive:
            require_arrays(path, archive, names, "to label one of OGBench's own files, set `env_name` to a single task")
            arrays = read_arrays(path, archive, names)
        try:
            return episodes_from_states(**arrays)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    name = task_name(env_name)
    if name.pixels or name.goal_conditioned:
        raise ValueError(
            f"`env_name` must be a single task without pixels, since neither frames nor goals are converted; got {env_name}."
        )
    environment = make(name.environment)
    try:
        labelled = labelled_arrays(path, name, environment)
    finally:
        environment.close()
    try:
        return episodes_of_states(
            observations=labelled["observations"],
            actions=labelled["actions"],
            rewards=np.asarray(labelled["rewards"]),
            terminated=np.asarray(labelled["masks"]) == 0,
            ends=labelled["terminals"],
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
