"""Checkpoints: the arrays of an agent, by name, and the step that they belong to."""

import re
import shutil
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from floqzoo.training.leaves import named_leaves, split_arrays


_FOLDER = re.compile(r"step_(\d+)")


def save_checkpoint(directory: Path, agent: PyTree, step: int, *, keep: int = 3) -> Path:
    """Writes `directory/step_<step>`, whole or not at all, and removes all but the `keep` latest.

    A checkpoint of the same step is left as it is. Only arrays are stored: what else an agent is made of,
    its recipe makes anew.

    **Raises** `ValueError` if `step` is negative or `keep` is not positive.
    """
    import orbax.checkpoint as ocp

    for name, number, least in (("step", step, 0), ("keep", keep, 1)):
        if number < least:
            raise ValueError(f"`{name}` must be at least {least}; got {number}.")
    path = _folder(directory, step)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path, {name: _plain(leaf) for name, leaf in _stored_leaves(agent).items()})
            checkpointer.wait_until_finished()
    for old in checkpoint_steps(directory)[:-keep]:
        shutil.rmtree(_folder(directory, old))
    return path


def checkpoint_steps(directory: Path) -> list[int]:
    """The steps of the checkpoints in a folder, ascending; one that was not finished is not among them."""
    if not directory.is_dir():
        return []
    matches = (_FOLDER.fullmatch(path.name) for path in directory.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def restore_checkpoint(directory: Path, like: PyTree, step: int | None = None) -> tuple[PyTree, int]:
    """The agent of a checkpoint, and its step; the latest checkpoint where no step is asked for.

    - `like`: An agent of the same make, whose arrays are replaced; the recipe and the config give one.

    **Raises** `FileNotFoundError` if the folder has no such checkpoint; `ValueError` if its arrays are not those
    of `like`, naming the first that is missing, unknown, or of another shape or dtype.
    """
    import orbax.checkpoint as ocp

    steps = checkpoint_steps(directory)
    if not steps or (step is not None and step not in steps):
        wanted = "a checkpoint" if step is None else f"a checkpoint of step {step}"
        raise FileNotFoundError(f"{directory} must hold {wanted}; it has {steps or 'none'}.")
    step = steps[-1] if step is None else step
    path = _folder(directory, step)
    leaves = _stored_leaves(like)
    targets = {name: jax.ShapeDtypeStruct(_plain(leaf).shape, _plain(leaf).dtype) for name, leaf in leaves.items()}
    with ocp.StandardCheckpointer() as checkpointer:
        _check_same(path, dict(checkpointer.metadata(path).item_metadata.items()), targets)
        stored = checkpointer.restore(path, targets)
    return _with_leaves(like, {name: _as_stored(stored[name], leaf) for name, leaf in leaves.items()}), step


def _folder(directory: Path, step: int) -> Path:
    return directory.absolute() / f"step_{step:09d}"


def _stored_leaves(agent: PyTree) -> dict[str, Any]:
    """The arrays of an agent by name, without the empty ones, which no checkpoint can hold or needs to."""
    return {name: leaf for name, leaf in named_leaves(split_arrays(agent)[0]).items() if leaf.size > 0}


def _plain(leaf: Any) -> jax.Array:
    """An array as JAX has it, and in place of keys the numbers behind them."""
    return jax.random.key_data(leaf) if _holds_keys(leaf) else jnp.asarray(leaf)


def _as_stored(data: jax.Array, leaf: Any) -> jax.Array:
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf)) if _holds_keys(leaf) else data


def _holds_keys(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _with_leaves(agent: PyTree, leaves: dict[str, jax.Array]) -> PyTree:
    arrays, rest = split_arrays(agent)
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
