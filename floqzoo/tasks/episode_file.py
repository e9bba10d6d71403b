r"""The file format of recorded episodes, to which all other formats are converted: an npz file of plain arrays.

| array | shape | contents |
|---|---|---|
| `observations` | `(steps + episodes, observation)` | $T + 1$ rows for each episode of $T$ steps, concatenated |
| `actions` | `(steps, action)` | in the units of the environment |
| `rewards` | `(steps,)` | the reward of each step |
| `terminated` | `(steps,)` | booleans: whether a step led to a terminal state |
| `episode_lengths` | `(episodes,)` | $T$, at least 1; an episode whose last step did not terminate was truncated |
| `action_low`, `action_high` | `(action,)` | the bounds of actions |
| `final_actions` | `(episodes, action)` | optional: the action at the last observation of each episode |

`observations`, `actions` and `rewards` have the dtypes of their source.
"""

from pathlib import Path

import numpy as np

from floqzoo.tasks.datafile import array_names, opened_npz, read_arrays, require_arrays
from floqzoo.tasks.dataset import Dataset
from floqzoo.tasks.files import replacing
from floqzoo.tasks.recorded_episodes import RecordedEpisodes


REQUIRED = ("observations", "actions", "rewards", "terminated", "episode_lengths", "action_low", "action_high")


def write_episodes(path: str | Path, episodes: RecordedEpisodes) -> None:
    """Writes recorded episodes to a compressed npz file, atomically.

    **Raises** `ValueError` if the name of the file does not end with ".npz", `FileExistsError` if the file already
    exists, and `FileNotFoundError` if its folder does not exist.
    """
    path = Path(path).expanduser()
    require_new_npz(path)
    arrays = {name: array for name, array in vars(episodes).items() if array is not None}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_episodes(path: str | Path) -> RecordedEpisodes:
    """Reads recorded episodes from a file that was written by `write_episodes`.

    **Raises** `FileNotFoundError` if there is no such file; `ValueError` if the file is truncated or not an npz file,
    if an array is missing, unknown or invalid, contains Python objects, or contradicts another array, or if the arrays
    are too large for the available memory.
    """
    path = Path(path).expanduser()
    with opened_npz(path) as archive:
        require_arrays(
            path,
            archive,
            REQUIRED,
            "it is not a file of recorded episodes, such as `floqzoo convert` writes from data of OGBench, D4RL, Minari or "
            "LeRobot",
        )
        names = array_names(archive)
        unknown = sorted(names - {*REQUIRED, "final_actions"})
        if unknown:
            raise ValueError(
                f"{path} must contain only the arrays of recorded episodes; it also has {', '.join(unknown)}."
            )
        arrays = read_arrays(path, archive, names)
    try:
        return RecordedEpisodes(**arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_dataset(path: str | Path) -> Dataset:
    """Reads a file of recorded episodes, and builds a dataset on the device from them; see
    [`RecordedEpisodes`][floqzoo.tasks.RecordedEpisodes].

    **Raises** `FileNotFoundError` or `ValueError`, as [`read_episodes`][floqzoo.tasks.read_episodes] does.
    """
    return read_episodes(path).dataset()


def require_new_npz(path: Path) -> None:
    """Checks that a new npz file can be created at a path.

    **Raises** `ValueError` if the name of the file does not end with ".npz", `FileExistsError` if the file already
    exists, and `FileNotFoundError` if its folder does not exist.
    """
    if path.suffix != ".npz":
        raise ValueError(f"the file to write must have a name that ends with .npz; got {path}.")
    if path.exists():
        raise FileExistsError(f"{path} exists already, and a file is never replaced; choose another path.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}.")
