"""Normalisation of observations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.typing import Observation, Scalar


class Normaliser(eqx.Module):
    r"""$z = (x - \text{mean}) / \text{scale}$ in each coordinate, stored with the model and not trained.

    - `mean`, `scale`: A number, or one for each coordinate, in the units of the observation; scales are above 0.
    """

    mean: Hyperparameter = eqx.field(converter=hyperparameter, default=0.0)
    scale: Hyperparameter = eqx.field(converter=hyperparameter, default=1.0)

    def __check_init__(self):
        require("mean", self.mean, np.isfinite, "finite")
        require("scale", self.scale, lambda value: np.isfinite(value) & (value > 0), "above 0 and finite")

    @staticmethod
    def from_observations(
        observations: Float[Array | np.ndarray, "states observation"], *, least_scale: float = 0.0
    ) -> "Normaliser":
        """Mean and standard deviation of each coordinate, over some observations.

        - `least_scale`: The minimum scale, used for coordinates that vary less. With 0, no coordinate may be constant.

        **Raises** `ValueError` if an observation is not finite, or a coordinate is constant while `least_scale` is 0.
        """
        table = np.asarray(observations, dtype=np.float64)
        if not np.isfinite(table).all():
            row = int(np.argwhere(~np.isfinite(table))[0][0])
            raise ValueError(
                f"`observations` has a NaN or an infinity, first in row {row}; every value must be finite."
            )
        scale = np.maximum(table.std(axis=0), least_scale)
        if not np.all(scale > 0):
            raise ValueError(
                f"`observations` is constant in coordinate {int(np.argmin(scale))}; pass a `least_scale` above 0."
            )
        dtype = jax.dtypes.canonicalize_dtype(np.float64)
        return Normaliser(table.mean(axis=0).astype(dtype), scale.astype(dtype))

    def normalise(self, x: Observation) -> Observation:
        """Converts from the units of the observation."""
        return (x - self.mean.value) / self.scale.value

    def restore(self, z: Observation) -> Observation:
        """Converts back to the units of the observation."""
        return z * self.scale.value + self.mean.value

    def log_volume(self, dim: int) -> Scalar:
        r"""$\sum_i \log \text{scale}_i$: the correction of a log-density for the units of the observation."""
        return jnp.sum(jnp.log(jnp.broadcast_to(jnp.asarray(self.scale.value), (dim,))))
