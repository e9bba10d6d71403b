"""The divergence of a velocity field, exact or estimated, for log-densities."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from floqzoo.typing import Key, Point, Scalar


class ExactDivergence(eqx.Module):
    r"""$\nabla \cdot v = \operatorname{tr} \partial v / \partial x$, by one forward-mode pass a coordinate."""

    def divergence(self, velocity: Callable[[Point], Point], x: Point, key: Key | None) -> Scalar:
        """The trace of the Jacobian at `x`."""
        del key
        return jnp.trace(jax.jacfwd(velocity)(x))


class HutchinsonDivergence(eqx.Module):
    r"""$\frac1n \sum_i \epsilon_i^\top \frac{\partial v}{\partial x} \epsilon_i$ with random signs $\epsilon_i$: unbiased.

    The same signs serve the whole way of a solve, so that the field being integrated is a smooth one.

    - `probes`: The number $n$ of sign vectors, at least 1; the cost grows with it, and not with the dimension.

    Source: FFJORD (arXiv 1810.01367).
    """

    probes: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if self.probes < 1:
            raise ValueError(f"`probes` must be at least 1; got {self.probes}.")

    def divergence(self, velocity: Callable[[Point], Point], x: Point, key: Key | None) -> Scalar:
        """The estimate at `x`.

        **Raises** `ValueError` without a key.
        """
        if key is None:
            raise ValueError("`key` must be given: Hutchinson's divergence draws random signs.")
        # A clone: that every evaluation of a solve draws the same signs is meant.
        signs = jax.random.rademacher(jax.random.clone(key), (self.probes, x.size), dtype=x.dtype)
        return jnp.mean(jax.vmap(lambda sign: sign @ jax.jvp(velocity, (x,), (sign,))[1])(signs))
