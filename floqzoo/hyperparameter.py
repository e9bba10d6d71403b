"""Hyperparameters and state: the numbers and arrays in an agent that no optimiser updates."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Float, PyTree

from floqzoo.typing import Array


class Hyperparameter(eqx.Module):
    """A number, such as a discount, that a sweep can vary and that optimisers do not update.

    The number is stored as an array, so it can be changed without recompiling, and `jax.vmap` can map over it. No
    gradient passes through `value`, and `partition_trainable` does not count the number among the trainable arrays.

    - `stored`: The number, or an array of numbers.
    """

    stored: Float[Any, "*members"]

    @property
    def value(self) -> Any:
        """The number; no gradient passes through it."""
        return jax.lax.stop_gradient(self.stored)


class State(eqx.Module):
    """An array that is updated by a loss rather than by an optimiser, such as running statistics or a counter.

    The loss returns a [`Stateful`][floqzoo.records.Stateful] record, which contains the part with its new state.

    - `stored`: An array of any dtype.
    """

    stored: Any

    @property
    def value(self) -> Any:
        """The array; no gradient passes through it."""
        return jax.lax.stop_gradient(self.stored)


Number = float | int | Array | np.ndarray | np.generic | Hyperparameter


def hyperparameter(value: Number) -> Hyperparameter:
    """Wraps a number or an array in a `Hyperparameter`; returns a `Hyperparameter` unchanged.

    As the converter of a module's field, it lets callers pass a plain number, as in `alpha=300.0`.
    """
    if isinstance(value, Hyperparameter):
        return value
    if isinstance(value, jax.Array):
        return Hyperparameter(value)
    return Hyperparameter(np.asarray(value, dtype=jax.dtypes.canonicalize_dtype(np.float64)))


def optional_hyperparameter(value: Number | None) -> Hyperparameter | None:
    """Returns `hyperparameter(value)`, or None if the value is None. It can also be used as a field converter."""
    return None if value is None else hyperparameter(value)


def is_not_trained(node: Any) -> bool:
    """Returns whether a node of a tree is a `Hyperparameter` or a `State`, neither of which is trained."""
    return isinstance(node, Hyperparameter | State)


def partition_trainable(tree: PyTree) -> tuple[PyTree, PyTree]:
    """Splits a tree into its trainable arrays and the rest; `eqx.combine` joins them again.

    All floating-point arrays outside a `Hyperparameter` or a `State` are trainable.
    """
    return eqx.partition(tree, eqx.is_inexact_array, is_leaf=is_not_trained)


def frozen(tree: PyTree) -> PyTree:
    """Returns the tree with `jax.lax.stop_gradient` applied to its trainable arrays."""
    trainable, rest = partition_trainable(tree)
    return eqx.combine(jax.lax.stop_gradient(trainable), rest)


def require(name: str, number: Hyperparameter, holds: Callable[[np.ndarray], np.ndarray | np.bool_], need: str) -> None:
    """Validates a number; does nothing inside a JAX trace, where the value is unknown.

    - `name`: The name of the argument, for the error message.
    - `number`: The number, or an array of numbers, each of which is checked.
    - `holds`: Maps the numbers to booleans.
    - `need`: The requirement in words, such as "in [0, 1]", for the error message.

    **Raises** `ValueError` if `holds` returns False; the message contains the argument, its value and the requirement.
    """
    if isinstance(number.stored, Tracer):
        return
    if not np.all(holds(np.asarray(number.stored))):
        raise ValueError(f"`{name}` must be {need}; got {_text(number)}.")


def require_ordered(low: Hyperparameter, high: Hyperparameter) -> None:
    """Checks that `low` is below `high`, and that both numbers and their difference are finite.

    **Raises** `ValueError` if this is not the case.
    """
    if isinstance(high.stored, Tracer):
        return
    require("low", low, np.isfinite, "finite")
    require("high", high, np.isfinite, "finite")
    require("low", low, lambda value: value < np.asarray(high.stored), f"below `high`, which is {_text(high)}")
    with np.errstate(over="ignore"):
        near = f"so close to `high`, which is {_text(high)}, that their difference is finite"
        require("low", low, lambda value: np.isfinite(np.asarray(high.stored) - value), near)


def require_range(low: Hyperparameter, high: Hyperparameter) -> None:
    """Checks a range whose width is a divisor: `low` must be below `high`, and the width in [1e-20, 1e20].

    Outside these limits, quotients and their gradients may not be finite in float32.

    **Raises** `ValueError` if this is not the case.
    """
    require_ordered(low, high)
    if isinstance(high.stored, Tracer):
        return

    def holds(value: np.ndarray) -> np.ndarray | np.bool_:
        width = np.asarray(high.stored) - value
        return (width >= 1e-20) & (width <= 1e20)

    require("low", low, holds, f"between 1e-20 and 1e20 below `high`, which is {_text(high)}")


def _text(number: Hyperparameter) -> str:
    """The number as text in its own precision: as a float64, the float32 -0.1 would be -0.10000000149011612."""
    return str(np.asarray(number.stored))
