"""How the members of an ensemble become one value."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class MeanOverEnsemble(eqx.Module):
    """The mean over members: floq's and FQL's choice for most environments."""

    def aggregate(self, values: Float[Array, "members *rest"]) -> Float[Array, "*rest"]:
        """Reduces the first axis."""
        return jnp.mean(values, axis=0)


class MinOverEnsemble(eqx.Module):
    """The least of the members, against overestimation: the papers' choice for antmaze-giant.

    Source: clipped double Q-learning (arXiv 1802.09477).
    """

    def aggregate(self, values: Float[Array, "members *rest"]) -> Float[Array, "*rest"]:
        """Reduces the first axis."""
        return jnp.min(values, axis=0)
