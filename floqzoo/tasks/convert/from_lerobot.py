"""Reads LeRobot's datasets, which are Parquet files with metadata. Images are not read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from floqzoo.tasks.convert.extras import library
from floqzoo.tasks.convert.rows import column, episodes_from_rows
from floqzoo.tasks.datafile import require_memory
from floqzoo.tasks.files import read_json
from floqzoo.tasks.input_arrays import Numbers, flags, matrix, vector
from floqzoo.tasks.recorded_episodes import RecordedEpisodes


def episodes_from_lerobot(
    folder: str | Path,
    *,
    observation_keys: Sequence[str] = ("observation.state",),
    done: Literal["terminated", "truncated"] | None = None,
    constant_reward: float | None = None,
    drop_last: bool = False,
    action_low: Numbers | None = None,
    action_high: Numbers | None = None,
) -> RecordedEpisodes:
    """Reads episodes from a LeRobot dataset, without its images. Needs the extra `floqzoo[lerobot]`.

    Versions 2 and 3 of the format are supported. Each frame is a step: an observation, the `action` taken there, and
    the `next.reward` and `next.done` that result from the action. The data do not contain the observation after the
    last frame of an episode; see `drop_last`.

    - `folder`: The folder that contains `meta/info.json` and `data/`.
    - `observation_keys`: The numeric columns that are concatenated to form the observation.
    - `done`: What `next.done` means in data without `next.truncated`: a terminal state ("terminated") or a time limit
      ("truncated"). Must be None if the data have `next.truncated`, and may be None if `next.done` is False everywhere.
    - `constant_reward`: The reward of every step, for data without `next.reward`, such as demonstrations; None for data
      with `next.reward`.
    - `drop_last`: Whether to drop the last transition of each truncated episode, whose next observation is unknown. If
      False, truncated episodes raise an error. Terminating transitions are kept, with their own observation as the next
      observation, on which TD targets do not depend.
    - `action_low`, `action_high`: The bounds of the actions, each either a single number or one number per coordinate;
      None uses the minimum and the maximum of each coordinate in the data.

    **Raises** `FileNotFoundError` if `meta/info.json` is missing; `ValueError` for invalid data (the message names the
    column, the frame and the requirement); `ModuleNotFoundError` if pyarrow is not installed.
    """
    folder = Path(folder).expanduser()
    info = read_json(folder / "meta" / "info.json")
    try:
        table = _table(folder, info)
        return _episodes(table, tuple(observation_keys), done, constant_reward, drop_last, action_low, action_high)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None


def _episodes(
    table: dict[str, np.ndarray],
    observation_keys: tuple[str, ...],
    done: str | None,
    constant_reward: float | None,
    drop_last: bool,
    action_low: Numbers | None,
    action_high: Numbers | None,
) -> RecordedEpisodes:
    if not observation_keys:
        raise ValueError("`observation_keys` must name at least one column; got none.")
    _require_columns(table, (*observation_keys, "action"))
    frames = len(table["episode_index"])
    observations = np.concatenate([matrix(key, _as_matrix(table[key])) for key in observation_keys], axis=1)
    actions = matrix("action", _as_matrix(table["action"]))
    terminated, ends = _ends(table, done)
    low, high = (
        limit(actions, axis=0) if given is None else given
        for limit, given in ((np.min, action_low), (np.max, action_high))
    )
    return episodes_from_rows(
        observations=observations,
        actions=actions,
        rewards=vector("next.reward", _rewards(table, constant_reward), frames),
        terminated=terminated,
        ends=ends,
        drop_last=drop_last,
        action_low=low,
        action_high=high,
    )


def _rewards(table: dict[str, np.ndarray], constant_reward: float | None) -> np.ndarray:
    has_rewards = "next.reward" in table
    if has_rewards and constant_reward is not None:
        raise ValueError(f"`constant_reward` must be None for data with `next.reward`; got {constant_reward}.")
    if not has_rewards and constant_reward is None:
        raise ValueError(
            f"it lacks next.reward, and has {_names(table)}; set `constant_reward` for data without rewards."
        )
    if constant_reward is not None:
        return np.full(len(table["episode_index"]), constant_reward, np.float32)
    return column(table["next.reward"])


def _ends(table: dict[str, np.ndarray], done: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Whether each frame terminates its episode, and whether it is the last one of its episode."""
    episode, frames = table["episode_index"], len(table["episode_index"])
    last = np.append(episode[1:] != episode[:-1], True)
    over, cut = (
        flags(name, column(table[name]), frames) if name in table else np.zeros(frames, bool)
        for name in ("next.done", "next.truncated")
    )
    if "next.truncated" in table and done is not None:
        raise ValueError(f"`done` must be None for data with `next.truncated`; got {done!r}.")
    if "next.truncated" not in table and over.any() and done is None:
        raise ValueError(
            f"`done` must be 'terminated' or 'truncated', to define what `next.done` means: {over.sum():,} frames are done, and "
            "the data have no `next.truncated`; got None."
        )
    terminated = np.zeros(frames, bool) if done == "truncated" else over & ~cut
    return terminated, last | over | cut


def _table(folder: Path, info: dict[str, Any]) -> dict[str, np.ndarray]:
    """The numeric columns, sorted by episode and frame."""
    parquet = library("pyarrow.parquet", "lerobot")
    pyarrow = library("pyarrow", "lerobot")
    paths = sorted((folder / "data").glob("chunk-*/*.parquet"))
    if not paths:
        raise ValueError("it has no files data/chunk-*/*.parquet.")
    try:
        size = sum(_size(parquet.read_metadata(path)) for path in paths)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"its Parquet files cannot be read as one table: {error}.") from None
    require_memory(size)
    try:
        table = pyarrow.concat_tables([parquet.read_table(path, partitioning=None) for path in paths])
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"its Parquet files cannot be read as one table: {error}.") from None
    columns = {name: _numbers(name, table.column(name)) for name in table.column_names if _is_numeric(table, name)}
    _require_columns(columns, ("episode_index", "frame_index"))
    order = np.lexsort((columns["frame_index"], columns["episode_index"]))
    columns = {name: array[order] for name, array in columns.items()}
    _require_whole(columns["episode_index"], columns["frame_index"], info)
    return columns


_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}


def _size(metadata: Any) -> int:
    """The size of a Parquet file's columns in memory, in bytes; in the file, repeated numbers take almost no space."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    columns = [group.column(index) for group in groups for index in range(group.num_columns)]
    return sum(
        max(column.num_values * _WIDTHS.get(column.physical_type, 0), column.total_uncompressed_size)
        for column in columns
    )


def _require_whole(episode: np.ndarray, frame: np.ndarray, info: dict[str, Any]) -> None:
    """Raises `ValueError` if frames or episodes are missing in the data."""
    starts = np.flatnonzero(np.append(True, episode[1:] != episode[:-1]))
    counted = np.arange(len(frame)) - np.repeat(starts, np.diff(np.append(starts, len(frame))))
    torn = np.flatnonzero(frame != counted)
    if len(torn):
        at = torn[0]
        raise ValueError(
            f"`frame_index` must count from 0 in each episode; episode {episode[at]} has {frame[at]} instead of {counted[at]}."
        )
    for name, found in (("total_frames", len(frame)), ("total_episodes", len(starts))):
        if info.get(name) != found:
            raise ValueError(f"`{name}` of meta/info.json must be {found}, as in data/; got {info.get(name)}.")


def _is_numeric(table: Any, name: str) -> bool:
    """Whether a column contains numbers or lists of numbers; images and text are left out."""
    types = library("pyarrow", "lerobot").types
    kind = table.schema.field(name).type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


def _numbers(name: str, values: Any) -> np.ndarray:
    """A column as an array with one axis, or with two if it holds lists."""
    missing = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False) if values.null_count else [])
    if len(missing):
        raise ValueError(f"`{name}` must have a value in each frame; row {missing[0]} has none.")
    if not hasattr(values.type, "value_type"):
        return values.to_numpy()
    parts = values.combine_chunks()
    parts = parts.chunks if hasattr(parts, "chunks") else [parts]
    flat = np.concatenate([part.flatten().to_numpy(zero_copy_only=False) for part in parts])
    lengths = np.unique(library("pyarrow.compute", "lerobot").list_value_length(values).to_numpy())
    if len(lengths) != 1:
        raise ValueError(f"`{name}` must have the same length in each frame; got lengths {lengths.tolist()}.")
    return flat.reshape(len(values), -1)


def _as_matrix(array: np.ndarray) -> np.ndarray:
    """A column as a matrix with one row for each frame; LeRobot stores a feature of size one as a plain number."""
    return array[:, None] if array.ndim == 1 else array


def _require_columns(table: dict[str, np.ndarray], names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}, and has {_names(table)}.")


def _names(table: dict[str, np.ndarray]) -> str:
    return ", ".join(sorted(table)) or "no column of numbers"
