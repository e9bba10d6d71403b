"""Checkpoints, which are written atomically, verified before they are read, and removed when no longer needed."""

import json
import logging
import math
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from floqzoo.learner.pytree_utils import named_leaves, split_arrays
from floqzoo.tasks.datafile import available_memory
from floqzoo.tasks.files import read_json, sha256_of, write_json


MANIFEST = "manifest.json"


class DamagedError(ValueError):
    """Raised if the contents of a folder differ from what was written to it."""


@contextmanager
def written_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary folder, which becomes `path` if the block succeeds.

    At the end of the block, a manifest is added, the files are flushed to disk, and the folder is renamed to `path`.
    Files that a killed process left behind in an earlier attempt are removed.
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        digests = {name: sha256_of(partial / name) for name in _files(partial)}
        (partial / MANIFEST).write_text(_manifest_text(digests))
        _flush(partial)
        partial.rename(path)
        _flush_one(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def verify(folder: Path) -> None:
    """Checks that a folder contains exactly the files that its manifest lists, each with unchanged contents.

    **Raises** `DamagedError` if it does not; the message names the folder and the file.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes().decode()
        digests = json.loads(text)
        good = isinstance(digests, dict) and text == _manifest_text(digests)
    except (OSError, ValueError, RecursionError):
        good, digests = False, {}
    if not good:
        raise DamagedError(f"{folder} is damaged: its {MANIFEST} is missing or was changed.")
    found = _files(folder)
    for name in sorted({*digests, *found} - {MANIFEST}):
        if name not in digests:
            raise DamagedError(f"{folder} is damaged: the file {name} is not in its {MANIFEST}.")
        if name not in found or sha256_of(folder / name) != digests[name]:
            raise DamagedError(f"{folder} is damaged: {name} was changed.")


def is_intact(folder: Path) -> bool:
    """Returns whether a folder exists and contains exactly what was written to it; see `verify`."""
    try:
        verify(folder)
    except DamagedError:
        return False
    return True


def _manifest_text(digests: dict[str, Any]) -> str:
    return json.dumps(digests, indent=1, sort_keys=True) + "\n"


def _files(folder: Path) -> list[str]:
    """The names of all files below a folder.

    **Raises** `DamagedError` for anything but a regular file or a folder; a symbolic link points elsewhere, so it
    counts as damage.
    """
    entries = sorted(folder.rglob("*"))
    for entry in entries:
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise DamagedError(f"{folder} is damaged: {entry.relative_to(folder)} is not a regular file.")
    return [entry.relative_to(folder).as_posix() for entry in entries if entry.is_file()]


def _flush(folder: Path) -> None:
    for entry in folder.rglob("*"):
        _flush_one(entry)
    _flush_one(folder)


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


ARRAYS, BESIDE, AWAITED = "arrays", "beside", "awaited"
"""The subfolders of a checkpoint, which contain the tree, the additional arrays and the additional tree."""
_FOLDER = re.compile(r"step_(\d{9,})")


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint.

    - `tree`: The tree that was saved.
    - `step`: The step at which it was saved.
    - `progress`: The JSON-serialisable values that were saved with the tree.
    """

    tree: PyTree
    step: int
    progress: dict[str, Any]


def save_checkpoint(
    directory: str | Path,
    tree: PyTree,
    step: int,
    progress: Mapping[str, Any] | None = None,
    records: Sequence[str | Path] = (),
    beside: Mapping[str, Any] | None = None,
    awaited: PyTree = None,
) -> Path:
    """Writes the checkpoint of a step atomically, and returns its path, such as `directory/step_000000500`.

    An existing checkpoint of the same step is left unchanged. Only the arrays of the tree are stored, because the
    recipe can rebuild everything else.

    - `directory`: The folder of all checkpoints of a run.
    - `tree`: The tree to save, such as a `RunState`.
    - `step`: The step of the run, at least 0.
    - `progress`: JSON-serialisable values to save with the tree.
    - `records`: Files to copy into the checkpoint.
    - `beside`: Additional arrays of any shape, by name; `restore_beside` reads them.
    - `awaited`: An additional tree; `restore_awaited` reads it.

    **Raises** `ValueError` if `step` is negative; `OSError` if the checkpoint cannot be written.
    """
    import orbax.checkpoint as ocp

    if step < 0:
        raise ValueError(f"`step` must be at least 0; got {step}.")
    path, records = checkpoint_folder(Path(directory), step), [Path(record) for record in records]
    if path.exists():
        return path
    with written_atomically(path) as partial:
        write_json(partial / "progress.json", dict(progress or {}))
        for record in records:
            shutil.copyfile(record, partial / record.name)
        try:
            with _quiet(), ocp.StandardCheckpointer(multiprocessing_options=_alone()) as checkpointer:
                for item, leaves in (
                    (ARRAYS, _stored_leaves(tree)),
                    (BESIDE, {name: leaf for name, leaf in (beside or {}).items() if leaf.size}),
                    (AWAITED, _stored_leaves(awaited)),
                ):
                    if leaves:
                        # With several processes, Orbax does not accept JAX arrays that belong to one of them.
                        checkpointer.save(partial / item, {n: np.asarray(_plain(leaf)) for n, leaf in leaves.items()})
                        checkpointer.wait_until_finished()
        # Orbax has no error type for a full disk, so any error is caught.
        except Exception as error:
            raise OSError(f"{path} cannot be written: {_first_line(error)}") from error
    return path


def checkpoint_steps(directory: str | Path) -> list[int]:
    """Returns the steps of the complete checkpoints in a folder, in ascending order."""
    directory = Path(directory)
    if not directory.is_dir():
        return []
    matches = (_FOLDER.fullmatch(path.name) for path in directory.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def checkpoint_folder(directory: Path, step: int) -> Path:
    """Returns the path of the checkpoint of a step, whether or not the checkpoint exists."""
    return directory.absolute() / f"step_{step:09d}"


def restore_checkpoint(directory: str | Path, like: PyTree, step: int | None = None) -> Checkpoint:
    """Verifies every byte of a checkpoint, then reads it. No code from the checkpoint is ever executed.

    - `directory`: The folder of all checkpoints of a run.
    - `like`: A tree of the same structure as the saved one, such as an agent built from the recipe and the config. The
      result is this tree with the arrays of the checkpoint.
    - `step`: The step of the checkpoint. By default, the latest intact checkpoint is read, with a warning for each
      later one that is damaged.

    **Raises** `FileNotFoundError` if the folder has no such checkpoint; `ValueError` if the checkpoint is damaged, or
    if its arrays differ from those of `like` (the message names the first array that is missing, is not in `like`, or
    has another shape or dtype).
    """
    directory = Path(directory)
    step = latest_intact(directory) if step is None else step
    if step not in checkpoint_steps(directory):
        raise FileNotFoundError(f"{directory} must contain a checkpoint of step {step}; it has {_listed(directory)}.")
    path = checkpoint_folder(directory, step)
    verify(path)
    return Checkpoint(_read_tree(path, ARRAYS, like), step, read_json(path / "progress.json"))


def require_form(directory: Path, form: Mapping[str, jax.ShapeDtypeStruct], step: int) -> None:
    """Checks that arrays have the same shapes and dtypes as in a checkpoint, before the arrays are created.

    The function does not check whether the checkpoint is damaged.

    - `directory`: The folder of all checkpoints of a run.
    - `form`: The expected shapes and dtypes of arrays of the tree, by name; other arrays are not checked.
    - `step`: The step of the checkpoint.

    **Raises** `ValueError` if the checkpoint lacks an array, or contains it with another shape or dtype; the message
    names the first such array.
    """
    import orbax.checkpoint as ocp

    path = checkpoint_folder(directory, step)
    with _quiet(), ocp.StandardCheckpointer(multiprocessing_options=_alone()) as checkpointer:
        try:
            stored = dict(checkpointer.metadata(path / ARRAYS).item_metadata.items())
        except Exception:  # damaged: restoring it raises an error, or falls back to an earlier one
            return
    _check_same(path, {name: array for name, array in stored.items() if name in form}, dict(form))


def restore_awaited(directory: Path, step: int, like: PyTree) -> PyTree:
    """Reads the additional tree of an intact checkpoint; returns None if the checkpoint has no additional tree.

    **Raises** `ValueError` if the stored arrays differ from those of `like` in name, shape or dtype.
    """
    path = checkpoint_folder(directory, step)
    return _read_tree(path, AWAITED, like) if (path / AWAITED).is_dir() else None


def restore_beside(directory: Path, step: int) -> dict[str, np.ndarray]:
    """Reads the additional arrays of an intact checkpoint, by name; empty arrays are omitted.

    **Raises** `ValueError` if the checkpoint has no additional arrays, or if they cannot be read or exceed the
    available memory.
    """
    import orbax.checkpoint as ocp

    path = checkpoint_folder(directory, step) / BESIDE
    if not path.is_dir():
        raise ValueError(f"{path.parent} must contain the state of the online phase; it does not.")
    with _quiet(), ocp.StandardCheckpointer(multiprocessing_options=_alone()) as checkpointer:
        try:
            stored = dict(checkpointer.metadata(path).item_metadata.items())
            size = sum(math.prod(array.shape) * np.dtype(array.dtype).itemsize for array in stored.values())
            if size > (limit := available_memory()):
                raise MemoryError(f"they take {size:,} bytes, and {limit:,} bytes of memory are available.")
            return checkpointer.restore(path, {n: np.empty(array.shape, array.dtype) for n, array in stored.items()})
        except Exception as error:
            raise ValueError(f"{path} contains arrays that cannot be read: {_first_line(error)}") from error


def latest_intact(directory: Path) -> int:
    """Returns the step of the latest intact checkpoint, and warns about each later checkpoint that is damaged.

    **Raises** `FileNotFoundError` if there is no checkpoint; `DamagedError` if all are damaged.
    """
    steps = checkpoint_steps(directory)
    if not steps:
        raise FileNotFoundError(f"{directory} must contain a checkpoint; it has none.")
    for step in reversed(steps):
        try:
            verify(checkpoint_folder(directory, step))
        except DamagedError as error:
            warnings.warn(f"{error} The previous checkpoint is used.", stacklevel=2)
        else:
            return step
    raise DamagedError(f"{directory} has no intact checkpoint: all are damaged (steps: {_listed(directory)}).")


def _read_tree(path: Path, item: str, like: PyTree) -> PyTree:
    """Reads a subfolder of a checkpoint as a tree with the structure of `like`."""
    import orbax.checkpoint as ocp

    leaves = _stored_leaves(like)
    targets = {name: _target(leaf) for name, leaf in leaves.items()}
    with _quiet(), ocp.StandardCheckpointer(multiprocessing_options=_alone()) as checkpointer:
        try:
            stored = dict(checkpointer.metadata(path / item).item_metadata.items())
            _check_same(path, stored, targets)
            arrays = checkpointer.restore(path / item, targets)
        except ValueError:
            raise
        # The bytes are unchanged since writing, but Orbax cannot read them as arrays.
        except Exception as error:
            raise ValueError(f"{path} contains arrays that cannot be read: {_first_line(error)}") from error
    return _with_leaves(like, {name: _as_stored(arrays[name], leaf) for name, leaf in leaves.items()})


def _alone() -> Any:
    """Options with which Orbax does not wait for other processes."""
    import orbax.checkpoint as ocp

    here = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=here, active_processes={here})


@contextmanager
def _quiet() -> Iterator[None]:
    """Stops Orbax from logging the tracebacks of its errors."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _target(leaf: Any) -> jax.ShapeDtypeStruct:
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(_plain(leaf).shape, _plain(leaf).dtype, sharding=here)


def _stored_leaves(tree: PyTree) -> dict[str, Any]:
    """The arrays of a tree by name, without empty arrays, which a checkpoint cannot hold and does not need."""
    return {name: leaf for name, leaf in named_leaves(split_arrays(tree)[0]).items() if leaf.size > 0}


def _plain(leaf: Any) -> jax.Array | np.ndarray:
    """The key data of an array of PRNG keys; any other array unchanged."""
    return jax.random.key_data(leaf) if _holds_keys(leaf) else leaf


def _as_stored(data: jax.Array, leaf: Any) -> jax.Array:
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf)) if _holds_keys(leaf) else data


def _holds_keys(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _with_leaves(tree: PyTree, leaves: dict[str, jax.Array]) -> PyTree:
    arrays, rest = split_arrays(tree)
    structure = jax.tree.structure(arrays)
    return eqx.combine(
        jax.tree.unflatten(structure, [leaves.get(name, leaf) for name, leaf in named_leaves(arrays).items()]), rest
    )


def _check_same(path: Path, stored: dict[str, Any], wanted: dict[str, jax.ShapeDtypeStruct]) -> None:
    for name in wanted:
        if name not in stored:
            raise ValueError(f"the agent has an array `{name}`, which the checkpoint {path} lacks.")
    for name, array in stored.items():
        if name not in wanted:
            raise ValueError(f"the checkpoint {path} has an array `{name}`, which the agent lacks.")
        for fact in ("shape", "dtype"):
            here, there = getattr(wanted[name], fact), getattr(array, fact)
            if here != there:
                raise ValueError(f"the {fact} of `{name}` must be {here}, as in the agent; in {path} it is {there}.")


def _listed(directory: Path) -> str:
    return ", ".join(str(step) for step in checkpoint_steps(directory)) or "none"


def _first_line(error: Exception) -> str:
    if "No space left on device" in str(error):
        return "no space is left on the device."
    return f"{type(error).__name__}: {error}".split("\n")[0]


def steps_to_keep(steps: Sequence[int], scores: Mapping[int, float], latest: int) -> set[int]:
    """Returns the steps of the checkpoints to keep: the last `latest` steps, and the best step if any was evaluated.

    - `steps`: The steps of the existing checkpoints.
    - `scores`: The evaluation score of each step that was evaluated.
    """
    best = best_step(steps, scores)
    return {*sorted(steps)[-latest:], *([] if best is None else [best])}


def best_step(steps: Sequence[int], scores: Mapping[int, float]) -> int | None:
    """Returns the step with the highest score, the latest one in a tie; None if no step was evaluated."""
    evaluated = [step for step in steps if not math.isnan(scores.get(step, math.nan))]
    return max(evaluated, key=lambda step: (scores[step], step), default=None)


def remove_others(directory: Path, keep: set[int]) -> None:
    """Atomically removes each checkpoint whose step is not in `keep`.

    Files that interrupted writes and removals have left behind are removed as well.
    """
    for step in checkpoint_steps(directory):
        if step not in keep:
            folder = checkpoint_folder(directory, step)
            # Renamed first, so that an interrupted removal leaves nothing that looks like a checkpoint.
            folder.rename(folder.with_name(f".{folder.name}.removed"))
    for left in [*directory.glob(".step_*.removed"), *directory.glob(".step_*.partial")]:
        shutil.rmtree(left)
