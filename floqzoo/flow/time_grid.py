"""The times between which a solver steps."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from floqzoo.typing import Time


def time_grid(t0: Time, t1: Time, steps: int, dtype: DTypeLike) -> Float[Array, " times"]:
    r"""$t_k = (1 - s_k) \, t_0 + s_k \, t_1$ with $s_k = k / K$: `steps` + 1 equally spaced times.

    The shares are rounded once, outside of the compiled program, so that the two ends are exact, and the times of
    [0, 1] are k / K to the last bit.
    """
    share = jnp.asarray(np.arange(steps + 1) / steps, dtype=dtype)
    return (1 - share) * t0 + share * t1
