"""The sinusoidal time embedding of diffusion models. The time is in [0, 1]."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.typing import Array, Time


class SinusoidalTime(eqx.Module):
    r"""Embeds the time as sinusoidal features $(\sin \omega_i t, \cos \omega_i t)$.

    The frequencies are spaced geometrically from 1000 to 0.1: $\omega_i = 1000 \cdot 10^{-4 i / (n / 2 - 1)}$ for $i =
    0, \dots, n / 2 - 1$. They are those of the transformer, multiplied by 1000 because DDPM divides time into 1000
    steps.

    - `time_features`: The number $n$ of features, even and at least 4. The number that TD-Flow uses is not published;
      the default of 256 is taken from a public reproduction.

    Source: TD-Flow (arXiv 2503.09817), which mentions a sinusoidal embedding, in the form of DDPM (arXiv 2006.11239).
    """

    time_features: int = eqx.field(static=True, default=256)

    def __check_init__(self):
        if self.time_features < 4 or self.time_features % 2:
            raise ValueError(f"`time_features` must be even and at least 4; got {self.time_features}.")

    def embed_time(self, t: Time) -> Float[Array, " features"]:
        """Returns the sines followed by the cosines, each in [-1, 1]."""
        exponents = jnp.linspace(3.0, -1.0, self.time_features // 2)
        angles = 10.0**exponents * jnp.asarray(t, dtype=float)
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])
