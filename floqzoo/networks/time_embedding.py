"""Embeddings of the flow time, as inputs of a velocity field. The time is in [0, 1]."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.typing import Array, Time


class RawTime(eqx.Module):
    """Uses the time itself as the only feature, as in FQL."""

    time_features: int = eqx.field(static=True, default=1, init=False)

    def embed_time(self, t: Time) -> Float[Array, "1"]:
        """Returns `[t]`."""
        return jnp.asarray(t, dtype=float)[None]


class CosineTime(eqx.Module):
    r"""Uses $\cos t$ as the only feature, as floq's released code does regardless of its flags."""

    time_features: int = eqx.field(static=True, default=1, init=False)

    def embed_time(self, t: Time) -> Float[Array, "1"]:
        """Returns `[cos(t)]`."""
        return jnp.cos(jnp.asarray(t, dtype=float))[None]


class FourierTime(eqx.Module):
    r"""Embeds the time as cosine features $(\cos \pi t, \cos 2 \pi t, \dots, \cos n \pi t)$, as in floq's paper.

    - `time_features`: The number $n$ of frequencies, at least 1. floq's paper uses 64.
    """

    time_features: int = eqx.field(static=True, default=64)

    def __check_init__(self):
        if self.time_features < 1:
            raise ValueError(f"`time_features` must be at least 1; got {self.time_features}.")

    def embed_time(self, t: Time) -> Float[Array, " features"]:
        """Returns the cosines, each in [-1, 1]."""
        return jnp.cos(jnp.pi * jnp.arange(1, self.time_features + 1, dtype=float) * jnp.asarray(t, dtype=float))
