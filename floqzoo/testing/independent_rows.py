"""Checks that a loss draws random numbers independently for each row of its batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.testing.closeness import compiled, mapped
from floqzoo.testing.examples import Example


COPIES = 16
KEYS = 32


def assert_rows_draw_independently(loss_and_gradient: Callable, part: Any, example: Example, *rest: Any) -> None:
    r"""Checks that a loss draws random numbers independently for each row of its batch.

    The variance over keys of a mean over $n$ rows is proportional to $1 / n$ if the rows draw independently, but not if
    they share a draw. The check therefore compares the variance for a batch with the variance for 16 copies of the
    batch, concatenated. Whole batches are compared because a loss may couple its rows, for example by a sum over all
    pairs: this scales both variances by the same factor. Both variances are estimated from the same total number of
    rows. Draws of different kinds, such as times and noise samples, are correlated if they use the same key, so JAX's
    check for reused keys is turned on.

    - `loss_and_gradient`: A function that takes a key, `part`, a batch and `rest`, and returns the loss and its
      gradient.
    - `part`: The part whose loss is checked. For a part with `draws_once_per_batch = True`, only reused keys are
      checked, because all rows of its batch share one draw.

    **Raises** `AssertionError` if the variance with 16 copies is more than 4 / 16 of the variance for the single batch.
    This is checked for the loss, and for the sum of the variances of all entries of its gradient. `KeyReuseError` of
    JAX if a key is used twice.
    """
    if getattr(part, "draws_once_per_batch", False):
        with jax.debug_key_reuse(True):
            compiled(loss_and_gradient, example.key, part, example.batch, *rest)
        return
    few_key, many_key = jax.random.split(example.key)
    many = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * COPIES), example.batch)
    with jax.debug_key_reuse(True):
        few_found = mapped(loss_and_gradient, jax.random.split(few_key, COPIES * KEYS), part, example.batch, *rest)
        many_found = mapped(loss_and_gradient, jax.random.split(many_key, KEYS), part, many, *rest)
    for name, few, more in zip(("loss", "gradient"), _where_finite(few_found), _where_finite(many_found), strict=True):
        (of_few, size), (of_many, _) = _variance(few), _variance(more)
        rounding = (64 * float(jnp.finfo(example.action.dtype).eps)) ** 2 * size
        assert of_many <= 4 * of_few / COPIES + rounding, (
            f"the variance of the {name} over keys is {of_few} in a batch, and {of_many} in {COPIES} copies of it: rows share draws"
        )


def _where_finite(found: tuple) -> tuple:
    """The losses and gradients for the keys with a finite loss; a loss divided by the size of a score may overflow."""
    return jax.tree.map(lambda leaf: leaf[np.isfinite(found[0])], found)


def _variance(tree: Any) -> tuple[float, float]:
    """The variance over the first axis, and the mean square, each summed over all leaves."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]
    variance = sum((float(np.sum(np.var(leaf, axis=0))) for leaf in leaves), 0.0)
    return variance, sum((float(np.sum(np.mean(leaf**2, axis=0))) for leaf in leaves), 0.0)
