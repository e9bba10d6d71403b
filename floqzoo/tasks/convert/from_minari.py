"""Reads recorded episodes from Minari's datasets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from floqzoo.tasks.convert.extras import library
from floqzoo.tasks.convert.rows import column
from floqzoo.tasks.datafile import require_memory
from floqzoo.tasks.input_arrays import Numbers
from floqzoo.tasks.recorded_episodes import EpisodeArrays, RecordedEpisodes, concatenated_episodes


def episodes_from_minari(
    source: str | Path,
    *,
    observation_keys: Sequence[str] = (),
    action_low: Numbers | None = None,
    action_high: Numbers | None = None,
) -> RecordedEpisodes:
    """Reads episodes from a Minari dataset on this machine. Needs the extra `floqzoo[minari]`.

    - `source`: The name of the dataset, such as "D4RL/pen/human-v2", or its folder.
    - `observation_keys`: If observations are dictionaries, the entries that are concatenated to form the observation.
      Must be empty if observations are vectors.
    - `action_low`, `action_high`: The bounds of the actions, each either a single number or one number per coordinate;
      None uses the bounds of the dataset's action space.

    An episode that was neither terminated nor truncated counts as truncated at the end of its recording.

    **Raises** `FileNotFoundError` if the dataset is not on this machine; `ValueError` for invalid data (the message
    names the episode, the array and the requirement); `ModuleNotFoundError` if Minari is not installed.
    """
    dataset = _opened(str(source))
    low, high = _bounds(dataset.spec.action_space, action_low, action_high)
    try:
        require_memory(_size(Path(dataset.storage.data_path)))
        recorded = concatenated_episodes(
            (_arrays(episode, tuple(observation_keys)) for episode in dataset.iterate_episodes()),
            action_low=low,
            action_high=high,
        )
        if (len(recorded.episode_lengths), len(recorded.actions)) != (dataset.total_episodes, dataset.total_steps):
            raise ValueError(
                f"the metadata declare {dataset.total_episodes} episodes and {dataset.total_steps} steps, but the data have "
                f"{len(recorded.episode_lengths)} and {len(recorded.actions)}."
            )
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return recorded


def _opened(source: str) -> Any:
    minari = library("minari", "minari")
    folder = Path(source).expanduser()
    if folder.is_dir():
        inner = folder / "data"
        try:
            return minari.MinariDataset(inner if inner.is_dir() else folder)
        except Exception as error:  # Minari passes on all errors of its parsers.
            raise ValueError(f"{source} must be a folder of a Minari dataset: {error}.") from error
    try:
        return minari.load_dataset(source)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no Minari dataset {source!r} on this machine; download it with `minari download {source}`."
        ) from None
    except Exception as error:
        raise ValueError(f"{source!r} must be the name or the folder of a Minari dataset: {error}.") from error


def _size(folder: Path) -> int:
    """The size in bytes of the arrays in the folder of a Minari dataset, except "infos", which are not read.

    HDF5 files may be compressed, so the uncompressed sizes of their arrays are added; Arrow's files are not compressed.
    """
    h5py = library("h5py", "minari")
    sizes = []

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and "infos" not in name.split("/"):
            sizes.append(item.nbytes)

    for path in folder.rglob("*"):
        if path.suffix == ".hdf5":
            with h5py.File(path) as file:
                file.visititems(add)
        elif path.is_file():
            sizes.append(path.stat().st_size)
    return sum(sizes)


def _arrays(episode: Any, keys: tuple[str, ...]) -> EpisodeArrays:
    return EpisodeArrays(
        observations=_observations(episode.observations, keys),
        actions=_vector_space("actions", episode.actions),
        rewards=column(np.asarray(episode.rewards)),
        terminated=column(np.asarray(episode.terminations)),
    )


def _observations(observations: Any, keys: tuple[str, ...]) -> np.ndarray:
    if not isinstance(observations, Mapping):
        if keys:
            raise ValueError(
                f"`observation_keys` must be empty, since observations are not dictionaries; got {list(keys)}."
            )
        return _vector_space("observations", observations)
    if not keys or any(key not in observations for key in keys):
        raise ValueError(
            f"`observation_keys` must name some of {', '.join(observations)}, the entries of observations; got {list(keys)}."
        )
    return np.concatenate([_vector_space(key, observations[key]) for key in keys], axis=1)


def _vector_space(name: str, array: Any) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.ndim != 2:
        shape = f"the shape {array.shape}" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
        raise ValueError(f"`{name}` must be vectors of numbers, one for each step; got {shape}.")
    return array


def _bounds(space: Any, low: Numbers | None, high: Numbers | None) -> tuple[Numbers, Numbers]:
    bounds = [getattr(space, name, None) if given is None else given for name, given in (("low", low), ("high", high))]
    if any(bound is None for bound in bounds):
        raise ValueError(f"the action space must be a Box, so that actions are vectors of numbers; it is {space}.")
    return bounds[0], bounds[1]
