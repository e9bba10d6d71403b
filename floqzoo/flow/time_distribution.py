"""Where along its path a flow is trained."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from floqzoo.typing import Key


class UniformTime(eqx.Module):
    """$t \\sim U[0, 1)$: the usual law of flow matching."""

    def sample_times(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Independent times."""
        return jax.random.uniform(key, shape)


class ZeroTime(eqx.Module):
    """$t = 0$ always: the one-step ablation, to be used with one Euler step.

    The flow then is a monolithic network that reads noise: it predicts the way from the noise to its target.

    Source: floq (arXiv 2509.06863), official code, `train_at_zero_only`.
    """

    def sample_times(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Zeros."""
        del key
        return jnp.zeros(shape)
