"""The divergence of a velocity field, exact or estimated, from which the log-density of a flow is computed."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from floqzoo.typing import Key, Point, Scalar


class ExactDivergence(eqx.Module):
    r"""The exact divergence $\nabla \cdot v = \operatorname{tr} \partial v / \partial x$.

    It takes one forward-mode pass per coordinate.
    """

    def divergence(self, velocity: Callable[[Point], Point], x: Point, key: Key | None) -> Scalar:
        """Returns the trace of the Jacobian at `x`; `key` is not used."""
        del key
        return jnp.trace(jax.jacfwd(velocity)(x))


class HutchinsonDivergence(eqx.Module):
    r"""Hutchinson's unbiased estimate of the divergence, $\frac1n \sum_i \epsilon_i^\top
    \frac{\partial v}{\partial x} \epsilon_i$, where the $\epsilon_i$ are vectors of random signs.

    The same signs are used throughout a solve, so the integrated field is smooth.

    - `probes`: The number $n$ of sign vectors, at least 1. Each of them takes one forward-mode pass.

    Source: FFJORD (arXiv 1810.01367).
    """

    probes: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if self.probes < 1:
            raise ValueError(f"`probes` must be at least 1; got {self.probes}.")

    def divergence(self, velocity: Callable[[Point], Point], x: Point, key: Key | None) -> Scalar:
        """Returns the estimate at `x`, with signs drawn from `key`.

        **Raises** `ValueError` if `key` is None.
        """
        if key is None:
            raise ValueError("`key` must be given: Hutchinson's divergence draws random signs.")
        # A clone, since every evaluation of a solve is meant to draw the same signs.
        signs = jax.random.rademacher(jax.random.clone(key), (self.probes, x.size), dtype=jnp.result_type(x))
        return jnp.mean(jax.vmap(lambda sign: sign @ jax.jvp(velocity, (x,), (sign,))[1])(signs))
