"""Equality up to rounding."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def assert_close(
    actual: Float[Array | np.ndarray, "..."],
    expected: Float[Array | np.ndarray, "..."] | float,
    *,
    scale: Float[Array, "..."] | float = 1.0,
    roundings: int = 512,
) -> None:
    r"""$\max |a - b| \le n \, \epsilon \, (\lvert\text{scale}\rvert + \max |b|)$, with the $\epsilon$ of the coarser dtype.

    - `scale`: The size of the terms that were added up on the way.
    - `roundings`: The number $n$ of roundings that are forgiven.

    **Raises** `AssertionError` otherwise, and for unequal shapes or anything that is not finite.
    """
    dtypes = [x.dtype for x in (actual, expected) if hasattr(x, "dtype")]
    epsilon = max(float(jnp.finfo(dtype).eps) for dtype in dtypes)
    found, wanted = (np.asarray(x).astype(np.float64) for x in (actual, expected))
    assert found.shape == wanted.shape, f"shape {found.shape} instead of {wanted.shape}"
    assert np.isfinite(found).all(), f"not finite: {found}"
    size = float(np.max(np.abs(np.asarray(scale)))) + float(np.max(np.abs(wanted), initial=0.0))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=roundings * epsilon * size)


def assert_rows_are_mapped(function: Callable, rows: Float[Array, "rows ..."]) -> None:
    """`jax.vmap(function)` of all rows is `function` of each.

    **Raises** `AssertionError` otherwise.
    """
    assert_close(jax.vmap(function)(rows), jnp.stack([function(row) for row in rows]))
