"""Numbers and arrays of an agent's parts that are not updated by an optimiser."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Float, PyTree

from floqzoo.typing import Array


class Hyperparameter(eqx.Module):
    """A number that a sweep may change, and that no optimiser updates.

    Stored as an array, it can be changed without recompiling, and mapped over with `jax.vmap`. `value` stops gradients,
    so the gradient is always 0; `partition_trainable` excludes the number from training.

    - `stored`: The number, or an array of numbers.
    """

    stored: Float[Any, "*members"]

    @property
    def value(self) -> Any:
        """The number, without a gradient."""
        return jax.lax.stop_gradient(self.stored)


class State(eqx.Module):
    """An array that is updated by a loss, not by an optimiser, such as running statistics or a counter.

    A loss returns the part with its new state in a [`Stateful`][floqzoo.records.Stateful] record.

    - `stored`: An array of any dtype.
    """

    stored: Any

    @property
    def value(self) -> Any:
        """The array, without a gradient."""
        return jax.lax.stop_gradient(self.stored)


Number = float | int | Array | np.ndarray | np.generic | Hyperparameter


def hyperparameter(value: Number) -> Hyperparameter:
    """Wraps a number or an array in a `Hyperparameter`; a value that already is one is returned unchanged.

    As the converter of a field, it allows a plain number as an argument, such as `alpha=300.0`.
    """
    if isinstance(value, Hyperparameter):
        return value
    if isinstance(value, jax.Array):
        return Hyperparameter(value)
    return Hyperparameter(np.asarray(value, dtype=jax.dtypes.canonicalize_dtype(np.float64)))


def optional_hyperparameter(value: Number | None) -> Hyperparameter | None:
    """`hyperparameter(value)`, or None if the value is None; also a field converter."""
    return None if value is None else hyperparameter(value)


def is_not_trained(node: Any) -> bool:
    """Whether a node of a tree is a `Hyperparameter` or a `State`."""
    return isinstance(node, Hyperparameter | State)


def partition_trainable(tree: PyTree) -> tuple[PyTree, PyTree]:
    """Splits a tree into its trainable arrays and the rest; `eqx.combine` joins them again.

    All floating-point arrays outside a `Hyperparameter` or a `State` are trainable.
    """
    return eqx.partition(tree, eqx.is_inexact_array, is_leaf=is_not_trained)


def frozen(tree: PyTree) -> PyTree:
    """The same tree, without gradients through its parameters."""
    trainable, rest = partition_trainable(tree)
    return eqx.combine(jax.lax.stop_gradient(trainable), rest)


def require(name: str, number: Hyperparameter, holds: Callable[[np.ndarray], np.ndarray | np.bool_], need: str) -> None:
    """Validates a number, except inside a JAX trace, where its value is unknown.

    **Raises** `ValueError` if `holds` returns False; the message contains the argument, its value and the requirement.
    """
    if isinstance(number.stored, Tracer):
        return
    if not np.all(holds(np.asarray(number.stored))):
        raise ValueError(f"`{name}` must be {need}; got {_text(number)}.")


def require_ordered(low: Hyperparameter, high: Hyperparameter) -> None:
    """Checks that `low` is below `high`, and that both and their difference are finite.

    **Raises** `ValueError` otherwise.
    """
    if isinstance(high.stored, Tracer):
        return
    require("low", low, np.isfinite, "finite")
    require("high", high, np.isfinite, "finite")
    require("low", low, lambda value: value < np.asarray(high.stored), f"below `high`, which is {_text(high)}")
    with np.errstate(over="ignore"):
        near = f"so close to `high`, which is {_text(high)}, that their difference is finite"
        require("low", low, lambda value: np.isfinite(np.asarray(high.stored) - value), near)


def _text(number: Hyperparameter) -> str:
    """The number as text in its own precision: as a float64, the float32 -0.1 would be -0.10000000149011612."""
    return str(np.asarray(number.stored))
