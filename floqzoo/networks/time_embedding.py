"""Embeddings of the flow time."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.typing import Array, Time


class RawTime(eqx.Module):
    """The time itself as one feature, as in FQL."""

    time_features: int = eqx.field(static=True, default=1, init=False)

    def embed_time(self, t: Time) -> Float[Array, "1"]:
        """`[t]`."""
        return jnp.asarray(t, dtype=float)[None]


class CosineTime(eqx.Module):
    r"""One feature, $\cos t$, which floq's released code computes regardless of its flags."""

    time_features: int = eqx.field(static=True, default=1, init=False)

    def embed_time(self, t: Time) -> Float[Array, "1"]:
        """`[cos(t)]`."""
        return jnp.cos(jnp.asarray(t, dtype=float))[None]


class FourierTime(eqx.Module):
    r"""Cosine features $(\cos \pi t, \cos 2 \pi t, \dots, \cos n \pi t)$, as described in floq's paper, with $n = 64$.

    - `time_features`: The number $n$ of frequencies, at least 1.
    """

    time_features: int = eqx.field(static=True, default=64)

    def __check_init__(self):
        if self.time_features < 1:
            raise ValueError(f"`time_features` must be at least 1; got {self.time_features}.")

    def embed_time(self, t: Time) -> Float[Array, " features"]:
        """The cosines, each in [-1, 1]."""
        return jnp.cos(jnp.pi * jnp.arange(1, self.time_features + 1, dtype=float) * jnp.asarray(t, dtype=float))
