"""Layer normalisation with a scale and a shift that are computed from a condition."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float

from floqzoo.networks.dense import Dense
from floqzoo.typing import Array, Key


class FiLM(eqx.Module):
    r"""Layer normalisation modulated by a condition $c$: $(1 + \gamma(c)) \odot \operatorname{norm}(x) + \beta(c)$.

    A linear layer, `modulation`, computes $(\gamma, \beta)$ from the condition.

    - `condition_features`: The size of the condition.
    - `size`: The size of the normalised vector.
    - `dtype`: As in [`Dense`][floqzoo.networks.dense.Dense].
    - `epsilon`: A small number that is added to the variance.

    Source: FiLM (arXiv 1709.07871), which replaces the trained scale and shift of layer normalisation, as in TD-Flow.
    """

    modulation: Dense
    epsilon: float = eqx.field(static=True)

    def __init__(
        self, condition_features: int, size: int, *, epsilon: float = 1e-6, dtype: DTypeLike | None = None, key: Key
    ):
        self.modulation = Dense(condition_features, 2 * size, dtype=dtype, key=key)
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, " size"], modulation: Float[Array, " twice"]) -> Float[Array, " size"]:
        """Returns the normalised, scaled and shifted vector, in the dtype of `x`.

        - `modulation`: The output of the layer `modulation` for the condition: the concatenation of $\\gamma$ and
          $\\beta$.
        """
        wide = x.astype(self.modulation.bias.dtype)
        centred = wide - jnp.mean(wide)
        normal = centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred)) + self.epsilon)
        scale, shift = jnp.split(modulation.astype(wide.dtype), 2)
        return ((1 + scale) * normal + shift).astype(jnp.result_type(x))
