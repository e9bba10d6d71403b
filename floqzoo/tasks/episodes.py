"""The random seeds, arrays and files of scripted episodes."""

import itertools
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from floqzoo.tasks.files import replacing


# The arrays of OGBench's file format, each with its dtype on disk.
ARRAY_DTYPES: dict[str, Any] = {
    "observations": np.float32,
    "actions": np.float32,
    "terminals": np.bool_,
    "qpos": np.float32,
    "qvel": np.float32,
    "button_states": np.int64,
}

Episode = dict[str, np.ndarray]


class StepLog:
    """Collects the steps of one episode, and returns them as the arrays of OGBench's file format."""

    def __init__(self):
        self._rows: dict[str, list] = {}

    def add(self, observation: np.ndarray, action: np.ndarray, done: bool, info: dict) -> None:
        """Adds a step, given the observation *before* the action, the action, and whether the step ended the episode.

        The simulator state *before* the action is taken from `info`.
        """
        row = {
            "observations": observation,
            "actions": action,
            "terminals": done,
            "qpos": info["prev_qpos"],
            "qvel": info["prev_qvel"],
        }
        if "prev_button_states" in info:
            row["button_states"] = info["prev_button_states"]
        for key, value in row.items():
            self._rows.setdefault(key, []).append(value)

    def arrays(self) -> Episode:
        """Stacks the steps recorded so far into arrays; uint8 observations remain uint8."""
        return {key: np.asarray(rows, dtype=_dtype(key, rows[0])) for key, rows in self._rows.items()}


def _dtype(key: str, first: Any) -> Any:
    return np.uint8 if key == "observations" and first.dtype == np.uint8 else ARRAY_DTYPES[key]


@contextmanager
def seeded(environment: Any, seeds: np.random.SeedSequence) -> Iterator[np.random.Generator]:
    """Seeds all random generators that OGBench uses, and yields a generator for the script.

    OGBench's oracles and mazes draw from NumPy's global generator, and its environments from generators of their own.
    The state of the global generator is restored after the block.
    """
    for_global, for_environment, for_space, for_script = seeds.spawn(4)
    found = np.random.get_state()  # noqa: NPY002
    np.random.seed(for_global.generate_state(8))  # noqa: NPY002
    environment.unwrapped.np_random = np.random.default_rng(for_environment)
    environment.action_space.seed(int(for_space.generate_state(1)[0]))
    try:
        yield np.random.default_rng(for_script)
    finally:
        np.random.set_state(found)  # noqa: NPY002


def first_accepted(
    attempt: Callable[[np.random.SeedSequence], Episode],
    accept: Callable[[Episode], bool],
    seeds: np.random.SeedSequence,
) -> Episode:
    """Calls `attempt` with successive children of `seeds`, and returns the first episode that `accept` accepts."""
    for number in itertools.count():
        child = np.random.SeedSequence(seeds.entropy, spawn_key=(*seeds.spawn_key, number))
        episode = attempt(child)
        if accept(episode):
            return episode
    raise AssertionError("unreachable")


def save_episode(path: Path, episode: Episode) -> None:
    """Writes one episode to a file, atomically."""
    with replacing(path) as temporary:
        _write_npz(temporary, zipfile.ZIP_STORED, {key: [array] for key, array in episode.items()})


def join_episodes(paths: Sequence[Path], target: Path) -> None:
    """Concatenates episodes into one compressed npz file, written atomically.

    Only one array of one episode is in memory at a time. The same episodes always give a file with the same bytes.
    """
    with np.load(paths[0]) as first:
        keys = list(first.files)
    with replacing(target) as temporary:
        _write_npz(temporary, zipfile.ZIP_DEFLATED, {key: _Column(paths, key) for key in keys})


@dataclass(frozen=True)
class _Column:
    """One array of many episodes, read one episode at a time."""

    paths: Sequence[Path]
    key: str

    def __iter__(self) -> Iterator[np.ndarray]:
        for path in self.paths:
            with np.load(path) as episode:
                yield episode[self.key]


def _write_npz(path: Path, compression: int, columns: dict[str, Iterable[np.ndarray]]) -> None:
    """Writes an npz file, concatenating the parts of each column."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for key, parts in columns.items():
            first, rows = next(iter(parts)), sum(len(part) for part in parts)
            with archive.open(f"{key}.npy", "w", force_zip64=True) as entry:
                shape = (rows, *first.shape[1:])
                header = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(entry, header)
                for part in parts:
                    entry.write(np.ascontiguousarray(part).tobytes())
