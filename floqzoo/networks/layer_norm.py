"""Layer normalisation in one pass over its input."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class LayerNorm(eqx.Module):
    r"""$\gamma \odot (x - \bar x) / \sqrt{\overline{x^2} - \bar x^2 + \epsilon} + \beta$, with $\epsilon = 10^{-6}$ as in flax.

    Mean and mean square come from one pass, and in at least float32 whatever the dtype of the input.
    """

    scale: Float[Array, " size"]
    shift: Float[Array, " size"]
    epsilon: float = eqx.field(static=True)

    def __init__(self, size: int, *, epsilon: float = 1e-6):
        self.scale = jnp.ones(size)
        self.shift = jnp.zeros(size)
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, " size"]) -> Float[Array, " size"]:
        """The normalised vector, in the dtype of `x`."""
        wide = x.astype(self.scale.dtype)
        mean = jnp.mean(wide)
        variance = jnp.maximum(jnp.mean(jnp.square(wide)) - jnp.square(mean), 0)
        factor = jax.lax.rsqrt(variance + self.epsilon) * self.scale
        return ((wide - mean) * factor + self.shift).astype(x.dtype)
