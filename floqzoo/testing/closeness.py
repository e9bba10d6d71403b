"""Checks that two arrays, or the results for a batch and for its single rows, are equal up to rounding errors."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree

from floqzoo.typing import Array


Numbers = Float[Array | np.ndarray | np.generic, "..."]


def assert_close(
    actual: Numbers,
    expected: Numbers | float,
    *,
    scale: Numbers | float = 1.0,
    roundings: int = 512,
) -> None:
    r"""Checks that $\max |a - b| \le n \, \epsilon \, (\max |c| + \max |b|)$.

    - `actual`, `expected`: $a$, an array, and $b$, an array or a number. $\epsilon$ is the machine epsilon of the less
      precise of their dtypes.
    - `scale`: $c$, the magnitude of intermediate results.
    - `roundings`: $n$, the tolerated number of rounding errors.

    **Raises** `AssertionError` if the inequality is violated, the shapes differ, or `actual` is not finite.
    """
    dtypes = [x.dtype for x in (actual, expected) if not isinstance(x, (float, int))]
    epsilon = max(float(jnp.finfo(dtype).eps) for dtype in dtypes)
    found, wanted = (np.asarray(x).astype(np.float64) for x in (actual, expected))
    assert found.shape == wanted.shape, f"shape {found.shape} instead of {wanted.shape}"
    assert np.isfinite(found).all(), f"not finite: {found}"
    size = float(np.max(np.abs(np.asarray(scale)))) + float(np.max(np.abs(wanted), initial=0.0))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=roundings * epsilon * size)


@eqx.filter_jit
def compiled(function: Callable, *arguments: Any) -> Any:
    """Returns `function(*arguments)`; each function is compiled only once for each structure of its arguments."""
    return function(*arguments)


@eqx.filter_jit
def mapped(function: Callable, rows: PyTree[Array], *rest: Any) -> Any:
    """Like `compiled`, but maps `function(row, *rest)` over all rows with `jax.vmap`."""
    return jax.vmap(lambda row: function(row, *rest))(rows)


def assert_rows_are_mapped(function: Callable, rows: PyTree[Array], *rest: Any) -> None:
    """Checks that `jax.vmap` of `function(row, *rest)` over all rows gives the same values as calls with single rows.

    **Raises** `AssertionError` if the values differ by more than rounding errors.
    """
    leaves, form = jax.tree.flatten(rows)
    one_by_one = [compiled(function, form.unflatten(row), *rest) for row in zip(*leaves, strict=True)]
    assert_close(mapped(function, rows, *rest), jnp.stack(one_by_one))
