"""Normalises observations, coordinate by coordinate."""

from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.typing import Array, Observation, Scalar


CHUNK = 65_536
"""The number of observations that are converted to float64 in one chunk."""


class Normaliser(eqx.Module):
    r"""Normalises each coordinate of an observation: $z = (x - \text{mean}) / \text{scale}$.

    A normaliser is stored with the model, but is not trained. As a field of an [`Agent`][floqzoo.agent.Agent], it is
    applied to every observation that the agent learns from or acts on. $z$ and its derivative are finite for every
    finite $x$: if $z$ overflows, it is clipped to the largest finite number of its dtype.

    - `mean`, `scale`: The mean and the scale, each a single number or one number for each coordinate, in the units of
      the observation. Scales are above 0.
    """

    mean: Hyperparameter = eqx.field(converter=hyperparameter, default=0.0)
    scale: Hyperparameter = eqx.field(converter=hyperparameter, default=1.0)

    def __check_init__(self):
        require("mean", self.mean, np.isfinite, "finite")
        require(
            "scale",
            self.scale,
            lambda value: np.isfinite(value) & (value >= jnp.finfo(value.dtype).tiny),
            "above 0 and finite, and not a subnormal number",
        )

    @staticmethod
    def unfitted(dim: int) -> "Normaliser":
        """Returns an identity normaliser for `dim` coordinates, with the same structure as a fitted normaliser."""
        return Normaliser(np.zeros(dim), np.ones(dim))

    @staticmethod
    def from_observations(
        observations: Float[Array | np.ndarray, "states observation"], *, least_scale: float | None = None
    ) -> "Normaliser":
        """Fits a normaliser to the mean and standard deviation of each coordinate of the observations.

        Both are computed in float64. By default, a constant coordinate gets its value as the mean and a scale of 1: it
        is normalised to 0, and deviations from the constant keep their units.

        - `least_scale`: The minimum scale, which replaces smaller standard deviations, including those of constant
          coordinates; None for no minimum.

        **Raises** `ValueError` if there are no observations, if an observation is not finite, or if a coordinate is
        constant and the given `least_scale` is not above 0.
        """
        table = np.asarray(observations)
        count, dim = table.shape
        if not count:
            raise ValueError("`observations` must have at least one row; it has none.")
        dtype = jax.dtypes.canonicalize_dtype(np.float64)
        total, low, high = np.zeros(dim), np.full(dim, np.inf), np.full(dim, -np.inf)
        for start, rows in _chunks(table):
            if not np.isfinite(rows).all():
                row = start + int(np.argwhere(~np.isfinite(rows))[0][0])
                raise ValueError(
                    f"`observations` has a NaN or an infinity, first in row {row}; every value must be finite."
                )
            total += rows.sum(axis=0)
            low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
        # Constants are not detected by their deviation, which may be a rounding error above 0.
        mean = np.where(low == high, low, total / count)
        squares = sum(((rows - mean) ** 2).sum(axis=0) for _, rows in _chunks(table))
        scale = np.sqrt(squares / count)
        least = np.finfo(dtype).tiny
        scale = np.where(scale < least, 1.0, scale) if least_scale is None else np.maximum(scale, least_scale)
        if not np.all(scale > 0):
            raise ValueError(
                f"`least_scale` must be above 0, since `observations` is constant in coordinate {int(np.argmin(scale))}; "
                f"got {least_scale}."
            )
        return Normaliser(mean.astype(dtype), scale.astype(dtype))

    def normalise(self, x: Observation) -> Observation:
        """Normalises an observation."""
        z = (jnp.asarray(x) - self.mean.value) / self.scale.value
        largest = jnp.finfo(z.dtype).max
        return jnp.clip(z, -largest, largest)

    def restore(self, z: Observation) -> Observation:
        """Converts a normalised observation back to its original units."""
        return z * self.scale.value + self.mean.value

    def followed_by(self, other: "Normaliser") -> "Normaliser":
        """Combines this normaliser and another one, which is applied after it, into a single normaliser."""
        return Normaliser(self.mean.value + self.scale.value * other.mean.value, self.scale.value * other.scale.value)

    def log_volume(self, dim: int) -> Scalar:
        r"""Returns $\sum_i \log \text{scale}_i$ over `dim` coordinates.

        This is the log-density of $z$ minus the log-density of $x$.
        """
        return jnp.sum(jnp.log(jnp.broadcast_to(jnp.asarray(self.scale.value), (dim,))))


def _chunks(table: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(table), CHUNK):
        yield start, table[start : start + CHUNK].astype(np.float64)
