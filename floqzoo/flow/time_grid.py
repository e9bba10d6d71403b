"""The grid of times at which the steps of a solver start and end."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike, Float

from floqzoo.typing import Array, Time


def time_grid(t0: Time, t1: Time, steps: int, dtype: DTypeLike) -> Float[Array, " times"]:
    r"""Returns $K + 1$ equally spaced times for $K$ `steps`, $t_k = (1 - s_k) \, t_0 + s_k \, t_1$ with $s_k = k / K$.

    The fractions $s_k$ are rounded once, outside the compiled program. The first and the last time are therefore
    exactly `t0` and `t1`, and the times of a grid from 0 to 1 are bitwise equal to $k / K$.
    """
    share = jnp.asarray(np.arange(steps + 1) / steps, dtype=dtype)
    return (1 - share) * t0 + share * t1
