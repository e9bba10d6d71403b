"""Numbers that belong to a part and are not learnt."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree


class Hyperparameter(eqx.Module):
    """A number that a sweep may change and that no optimiser touches.

    As an array it can be changed without compiling again, and mapped over with `jax.vmap`; as a
    `Hyperparameter` it stays out of the differentiated tree (see `partition_trainable`).
    """

    value: Float[Any, "*members"]


Number = float | int | Array | np.ndarray | np.generic | Hyperparameter


def hyperparameter(value: Number) -> Hyperparameter:
    """Wraps a number; a field converter, so that `alpha=300.0` may be written."""
    if isinstance(value, Hyperparameter):
        return value
    if isinstance(value, jax.Array):
        return Hyperparameter(value)
    return Hyperparameter(np.asarray(value, dtype=jax.dtypes.canonicalize_dtype(np.float64)))


def partition_trainable(tree: PyTree) -> tuple[PyTree, PyTree]:
    """Splits a tree into its trainable floating arrays and all else; `eqx.combine` joins them again.

    Trainable is every floating array that no `Hyperparameter` holds.
    """
    return eqx.partition(tree, eqx.is_inexact_array, is_leaf=lambda node: isinstance(node, Hyperparameter))


def frozen(tree: PyTree) -> PyTree:
    """The same tree, through whose parameters no gradient flows."""
    trainable, rest = partition_trainable(tree)
    return eqx.combine(jax.lax.stop_gradient(trainable), rest)


def require(name: str, number: Hyperparameter, holds: Callable[[np.ndarray], np.ndarray | np.bool_], need: str) -> None:
    """Checks a number at the door.

    Within a trace the value is not known, and nothing is checked.

    **Raises** `ValueError`, naming the argument, its value and the need, where `holds` is false of it.
    """
    if isinstance(number.value, Tracer):
        return
    if not np.all(holds(np.asarray(number.value))):
        raise ValueError(f"`{name}` must be {need}; got {number.value}.")


def require_ordered(low: Hyperparameter, high: Hyperparameter) -> None:
    """Checks that `low` is below `high`, and both finite.

    **Raises** `ValueError` otherwise.
    """
    if isinstance(high.value, Tracer):
        return
    require("low", low, np.isfinite, "finite")
    require("high", high, np.isfinite, "finite")
    require("low", low, lambda value: value < np.asarray(high.value), f"below `high`, which is {high.value}")
