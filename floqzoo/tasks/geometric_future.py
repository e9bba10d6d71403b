"""How far ahead a future lies."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from floqzoo.typing import Key


def steps_ahead(key: Key, left: Int[Array, " batch"], discount: Float[Array, ""]) -> Int[Array, " batch"]:
    r"""Draws $k \ge 1$ with $\Pr(k) \propto (1 - \gamma) \gamma^{k-1}$, cut off at the steps that are `left`; 0 where none is."""
    share = jax.random.uniform(key, left.shape) * (1 - discount ** left.astype(discount.dtype))
    ahead = 1 + (jnp.log1p(-share) / jnp.log(discount)).astype(left.dtype)
    return jnp.minimum(ahead, left)
