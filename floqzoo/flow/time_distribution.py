"""Distributions of the times at which a flow is trained."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.typing import Array, Key


class UniformTime(eqx.Module):
    """Uniform times $t \\sim U[0, 1)$, as is usual in flow matching."""

    def sample_times(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Draws an array of independent times of the given shape."""
        return jax.random.uniform(key, shape)


class ZeroTime(eqx.Module):
    """Trains a flow only at $t = 0$, for an ablation in which the flow is integrated in one Euler step.

    The flow is then a monolithic network that takes noise as an input and predicts the difference between target and
    noise.

    Source: floq (arXiv 2509.06863), official code, `train_at_zero_only`.
    """

    def sample_times(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Returns an array of zeros of the given shape."""
        del key
        return jnp.zeros(shape)


class UniformTimeUntil(eqx.Module):
    r"""Uniform times up to a bound, $t \sim U[0, \text{end})$, for paths whose velocity is singular at $t = 1$, such as
    the path of diffusion models.

    - `end`: The upper bound, in (0, 1]. The default of 0.999 excludes noise levels below the lowest of DDPM's 1000
      levels.
    """

    end: Hyperparameter = eqx.field(converter=hyperparameter, default=0.999)

    def __check_init__(self):
        require("end", self.end, lambda value: (value > 0) & (value <= 1), "in (0, 1]")

    def sample_times(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Draws an array of independent times of the given shape."""
        return self.end.value * jax.random.uniform(key, shape)
