"""Validates the user's arrays. Error messages contain the name of the array, and numbers keep their dtypes."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Shaped


Numbers = Any
"""A number, a NumPy or JAX array, or nested lists of numbers."""


def storage_dtype() -> np.dtype:
    """Returns the dtype of a dataset: JAX's default floating dtype, which is float32 unless `jax_enable_x64` is set."""
    return jax.dtypes.canonicalize_dtype(np.float64)


def matrix(name: str, value: Numbers) -> Shaped[np.ndarray, "rows columns"]:
    """Converts a value to an array with two axes, rows and coordinates.

    **Raises** `ValueError` if the value does not have two axes, if an axis is empty, or if a number is not finite.
    """
    array = _numbers(name, value)
    if array.ndim != 2 or not array.size:
        raise ValueError(
            f"`{name}` must have two axes, rows and coordinates, none of them empty; got the shape {array.shape}."
        )
    return array


def vector(name: str, value: Numbers, rows: int) -> Shaped[np.ndarray, " rows"]:
    """Converts a value to an array with one number for each row.

    **Raises** `ValueError` if the value has a different shape, or contains a number that is not finite.
    """
    array = _numbers(name, value)
    if array.shape != (rows,):
        raise ValueError(f"`{name}` must have the shape {(rows,)}; got {array.shape}.")
    return array


def flags(name: str, value: Numbers, rows: int) -> Bool[np.ndarray, " rows"]:
    """Converts a value to an array with one boolean for each row; 0 and 1 are also accepted.

    **Raises** `ValueError` if the value has a different shape, or contains anything other than booleans, 0 and 1.
    """
    array = np.asarray(value)
    if array.shape != (rows,):
        raise ValueError(f"`{name}` must have the shape {(rows,)}; got {array.shape}.")
    if array.dtype != np.bool_ and not (array.dtype.kind in "fiu" and np.isin(array, (0, 1)).all()):
        raise ValueError(f"`{name}` must contain booleans, or 0 and 1; got dtype {array.dtype}{_odd_value(array)}.")
    return array.astype(bool)


def require_rows(rows: int, like: str, **arrays: np.ndarray) -> None:
    """Checks that each array has `rows` rows, which is the number of rows of the array named `like`.

    **Raises** `ValueError` otherwise; the message names the first array with a different number of rows.
    """
    for name, array in arrays.items():
        if len(array) != rows:
            raise ValueError(f"`{name}` must have {rows} rows, as `{like}` has; got {len(array)}.")


def action_bounds(actions: np.ndarray, low: Numbers, high: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Converts each bound to one number per action coordinate, and checks that all actions lie within the bounds.

    **Raises** `ValueError` if a bound is not finite or has the wrong shape, if a lower bound is not below its upper
    bound, or if an action is out of bounds.
    """
    low, high = (_bound(name, value, actions) for name, value in (("action_low", low), ("action_high", high)))
    if not (low < high).all():
        raise ValueError(f"`action_low` must be below `action_high`; got {low.tolist()} and {high.tolist()}.")
    outside = np.argwhere((actions < low) | (actions > high))
    if len(outside):
        row, column = (int(index) for index in outside[0])
        raise ValueError(
            f"`actions` must lie between `action_low` and `action_high`; coordinate {column} of row {row} is "
            f"{actions[row, column]:g}, outside of [{low[column]:g}, {high[column]:g}]."
        )
    return low, high


def _numbers(name: str, value: Numbers) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"`{name}` must be an array of real numbers; got {_kind(value, array)}.")
    with np.errstate(over="ignore"):
        finite = np.isfinite(array.astype(storage_dtype(), copy=False))
    if not finite.all():
        row = int(np.argwhere(~finite)[0][0]) if array.ndim else 0
        raise ValueError(
            f"`{name}` must be finite as {storage_dtype().name}; row {row} has {array[row] if array.ndim else array}."
        )
    return array


def _kind(value: Numbers, array: np.ndarray) -> str:
    if isinstance(value, Sequence) and array.dtype == object:
        return "a list of unequal rows or of other objects"
    return f"dtype {array.dtype}"


def _odd_value(array: np.ndarray) -> str:
    odd = array[~np.isin(array, (0, 1))] if array.dtype.kind in "fiu" else array[:0]
    return f" with the value {odd[0]}" if len(odd) else ""


def _bound(name: str, value: Numbers, actions: np.ndarray) -> np.ndarray:
    # In the dtype of the actions, so that a float32 action of 0.1 is not above a bound of 0.1.
    bound = np.asarray(value, actions.dtype if actions.dtype.kind == "f" else np.float64)
    if bound.shape not in ((), actions.shape[1:]) or not np.isfinite(bound).all():
        raise ValueError(
            f"`{name}` must be a finite number, or {actions.shape[1]} of them, one for each coordinate of an action; "
            f"got {value!r}."
        )
    return np.broadcast_to(bound, actions.shape[1:])


def require_zeros_and_ones(name: str, array: np.ndarray) -> None:
    """Checks that every element of a vector is 0 or 1.

    **Raises** `ValueError` otherwise; the message contains the first invalid element and its row.
    """
    valid = np.isin(array, (0, 1))
    if not valid.all():
        row = int(np.argmin(valid))
        raise ValueError(f"{name} must be 0 or 1; row {row} has {array[row]}.")
