"""Normalisation of Q in the losses of policies."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.typing import Array, Scalar


LEAST_SIZE = 1e-8
"""The lower bound of the divisor of Q; needed if all values are close to 0, e.g. before a critic has seen a reward."""


def inverse_size(q: Float[Array, " batch"]) -> Scalar:
    r"""Returns the inverse mean absolute value of Q over a batch, $1 / \overline{|Q|}$, without gradient.

    $\overline{|Q|}$ is clipped to at least 1e-8, so that the result is finite.

    Source: FQL (arXiv 2502.02538), official code, `normalize_q_loss`; TD3+BC (arXiv 2106.06860), equation 5.
    """
    return jax.lax.stop_gradient(1 / jnp.maximum(jnp.mean(jnp.abs(q)), LEAST_SIZE))
