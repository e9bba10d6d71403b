"""Embeddings of the points of a flow, as inputs of a velocity field."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import erf
from jaxtyping import Float

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require, require_range
from floqzoo.typing import Array, Point


class RawPoint(eqx.Module):
    """Passes on the coordinates of a point unchanged, as FQL does for actions."""

    def point_features(self, dim: int) -> int:
        """Returns the number of features, which is the number of coordinates."""
        return dim

    def embed_point(self, x: Point) -> Point:
        """Returns the point itself."""
        return x


class NormalisedValue(eqx.Module):
    r"""Normalises a value by its range, $(x - \text{low}) / (\text{high} - \text{low})$, as floq does if its
    categorical embedding is disabled.

    To avoid overflow, a value that lies outside the range by more than a million times the width of the range is
    clipped to that distance.

    - `low`, `high`: The range of values, in units of return; its width, high - low, is in [1e-20, 1e20].

    **Raises** `ValueError` for any other range.
    """

    low: Hyperparameter = eqx.field(converter=hyperparameter)
    high: Hyperparameter = eqx.field(converter=hyperparameter)

    def __check_init__(self):
        require_range(self.low, self.high)

    def point_features(self, dim: int) -> int:
        """Returns the number of features, which is the number of coordinates."""
        return dim

    def embed_point(self, x: Point) -> Point:
        """Returns the coordinates relative to the range: 0 at `low` and 1 at `high`."""
        span = self.high.value - self.low.value
        return (_held(x, self.low.value, self.high.value, 1e6 * span) - self.low.value) / span


class HLGauss(eqx.Module):
    r"""Embeds a value as a smoothed histogram: the probability of each bin under a Gaussian around the value.

    $$p_i(x) = \frac{\operatorname{erf}\frac{e_{i+1} - x}{\sqrt 2 \sigma}
    - \operatorname{erf}\frac{e_i - x}{\sqrt 2 \sigma}}
    {\operatorname{erf}\frac{e_n - x}{\sqrt 2 \sigma} - \operatorname{erf}\frac{e_1 - x}{\sqrt 2 \sigma}}$$

    The bins have $n$ equidistant edges, $e_1 = \text{low} < \dots < e_n = \text{high}$, so each coordinate has $n - 1$
    features. $\sigma$ is the argument `sigma` times the bin width $(e_n - e_1) / (n - 1)$. Values more than
    $4 \sigma$ outside the range are clipped to that distance, because further away the probabilities would be
    dominated by rounding errors, and finally become 0/0.

    - `low`, `high`: The range of values, in units of return; its width, high - low, is in [1e-20, 1e20].
    - `edges`: The number $n$ of edges, at least 2; floq uses 51.
    - `sigma`: $\sigma$ in units of the bin width, at least 0.001 and at most 100 times the number of bins. Beyond these
      limits, up to rounding, all probabilities are 0 or 1, or all are equal. floq uses 16, with which every bin is
      active.

    **Raises** `ValueError` for any other range or `sigma`, or if `edges` is below 2.

    Source: the official code of floq (arXiv 2509.06863), `use_prob_embed`, which is based on HL-Gauss (arXiv
    2403.03950).
    """

    low: Hyperparameter = eqx.field(converter=hyperparameter)
    high: Hyperparameter = eqx.field(converter=hyperparameter)
    edges: int = eqx.field(static=True, default=51)
    sigma: Hyperparameter = eqx.field(converter=hyperparameter, default=16.0)

    def __check_init__(self):
        require_range(self.low, self.high)
        if self.edges < 2:
            raise ValueError(f"`edges` must be at least 2; got {self.edges}.")
        most = 100 * (self.edges - 1)
        require("sigma", self.sigma, lambda value: (value >= 1e-3) & (value <= most), f"in [0.001, {most}]")

    def point_features(self, dim: int) -> int:
        """Returns the number of features: the number of bins times the number of coordinates."""
        return dim * (self.edges - 1)

    def embed_point(self, x: Point) -> Float[Array, " features"]:
        """Returns the bin probabilities of each coordinate in turn; they sum to 1 for each coordinate."""
        span = self.high.value - self.low.value
        edges = self.low.value + span * jnp.linspace(0.0, 1.0, self.edges)
        width = self.sigma.value * span / (self.edges - 1)
        x = _held(x, self.low.value, self.high.value, 4 * width)
        cumulative = erf((edges[None, :] - x[:, None]) / (jnp.sqrt(2.0) * width))
        mass = jnp.diff(cumulative) / (cumulative[:, -1:] - cumulative[:, :1])
        return mass.reshape(-1)


def _held(x: Point, low: Any, high: Any, margin: Any) -> Point:
    """Clips values to a range plus a margin."""
    x = jnp.asarray(x)  # in JAX's default dtype, even for a NumPy array
    # Rounding must not widen the margin: at 1e6, a number just above a bound is 0.06 away from it.
    below, above = low - margin, high + margin
    below = jnp.where(low - below > 1.25 * margin, low, below)
    above = jnp.where(above - high > 1.25 * margin, high, above)
    return jnp.clip(x, jnp.asarray(below, x.dtype), jnp.asarray(above, x.dtype))
