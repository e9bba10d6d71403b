"""Layer normalisation, optimised for CPUs and for accelerators."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.typing import Array, Scalar


class LayerNorm(eqx.Module):
    r"""Layer normalisation, $\gamma \odot (x - \bar x) / \sqrt{\overline{(x - \bar x)^2} + \epsilon} + \beta$.

    The scale $\gamma$ and the shift $\beta$ are trained. By default $\epsilon = 10^{-6}$, as in flax.

    Whatever the dtype of the input, mean and variance are computed in the dtype of the parameters. On a CPU, they are
    computed in one pass over the input, with the variance $\overline{x^2} - \bar x^2$. On an accelerator, they are
    computed in two passes, which XLA fuses with the preceding activation into one kernel. The results agree up to
    rounding.
    """

    scale: Float[Array, " size"]
    shift: Float[Array, " size"]
    epsilon: float = eqx.field(static=True)

    def __init__(self, size: int, *, epsilon: float = 1e-6):
        self.scale = jnp.ones(size)
        self.shift = jnp.zeros(size)
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, " size"]) -> Float[Array, " size"]:
        """Returns the normalised vector, in the dtype of `x`."""
        wide = x.astype(self.scale.dtype)
        mean = jnp.mean(wide)
        variance = one_pass_variance(wide, mean) if jax.default_backend() == "cpu" else two_pass_variance(wide, mean)
        factor = jax.lax.rsqrt(variance + self.epsilon) * self.scale
        return ((wide - mean) * factor + self.shift).astype(jnp.result_type(x))


def one_pass_variance(x: Float[Array, " size"], mean: Scalar) -> Scalar:
    r"""Computes the variance in one pass over the input, as $\max(\overline{x^2} - \bar x^2, 0)$."""
    return jnp.maximum(jnp.mean(jnp.square(x)) - jnp.square(mean), 0)


def two_pass_variance(x: Float[Array, " size"], mean: Scalar) -> Scalar:
    r"""Computes the variance in two passes over the input, as $\overline{(x - \bar x)^2}$."""
    return jnp.mean(jnp.square(x - mean))
