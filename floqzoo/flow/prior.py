"""Noise priors, from which flows start."""

from statistics import NormalDist
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Float

from floqzoo.flow.return_range import return_range
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require, require_range
from floqzoo.protocols import HasQuantiles, require_protocol
from floqzoo.typing import Array, Key, Point, Scalar


class UniformPrior(eqx.Module):
    r"""A uniform noise prior, $x_0 \sim U[\text{low}, \text{high}]$ in each coordinate, as in floq.

    With a narrow interval, trajectories are nearly straight, and a flow critic behaves like a monolithic critic. With a
    wide interval, trajectories are curved and need several solver steps.

    - `low`, `high`: The interval, in units of return; its width, high - low, is in [1e-20, 1e20].

    **Raises** `ValueError` for any other interval.
    """

    low: Hyperparameter = eqx.field(converter=hyperparameter)
    high: Hyperparameter = eqx.field(converter=hyperparameter)

    def __check_init__(self):
        require_range(self.low, self.high)

    @staticmethod
    def from_rewards(
        reward_range: tuple[float | int, float | int], discount: float | int, *, noise_coverage: float | int = 0.1
    ) -> "UniformPrior":
        r"""Creates floq's prior, over $\kappa \, [r_{\min}, r_{\max}] / (1 - \gamma)$, a fraction of the return range.

        - `reward_range`: The minimum and the maximum reward of the dataset.
        - `discount`: $\gamma$ in [0, 1).
        - `noise_coverage`: $\kappa$, above 0. floq uses 0.1; its best settings for puzzle-4x4 use 0.25.

        **Raises** `ValueError` if the minimum reward is not below the maximum, or an argument is out of range.

        Source: floq (arXiv 2509.06863), official code.
        """
        low, high = return_range(reward_range, discount, "give the interval itself, `UniformPrior(low, high)`")
        if not noise_coverage > 0:
            raise ValueError(f"`noise_coverage` must be above 0; got {noise_coverage}.")
        return UniformPrior(noise_coverage * low, noise_coverage * high)

    def sample(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Draws an array of the given shape, whose entries are independent samples."""
        return jax.random.uniform(key, shape, minval=self.low.value, maxval=self.high.value)

    def quantile(self, level: float) -> Scalar:
        """Returns the quantile at a `level` in (0, 1)."""
        return jnp.asarray(self.low.value + level * (self.high.value - self.low.value))

    def cdf(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Returns the cumulative distribution function of one coordinate, applied elementwise."""
        return jnp.clip((x - self.low.value) / (self.high.value - self.low.value), 0, 1)

    def log_prob(self, x: Point) -> Scalar:
        r"""Returns the log-density of a point with $d$ coordinates.

        It is $-d \log(\text{high} - \text{low})$ if all coordinates are in the interval, and $-\infty$ otherwise.
        """
        x = jnp.asarray(x)
        inside = jnp.all((x >= self.low.value) & (x <= self.high.value))
        density = -x.size * jnp.log(jnp.asarray(self.high.value - self.low.value))
        return jnp.where(inside, density, -jnp.inf).astype(x.dtype)


class GaussianPrior(eqx.Module):
    r"""A Gaussian noise prior, $x_0 \sim N(\text{mean}, \text{scale}^2)$ in each coordinate, as in FQL and TD-Flow.

    - `mean`: The mean, in the units of $x_0$.
    - `scale`: The standard deviation, in [1e-20, 1e20].

    **Raises** `ValueError` if `mean` is not finite, or if `scale` is out of range, since the log-density or its
    gradient might then not be finite in float32.
    """

    mean: Hyperparameter = eqx.field(converter=hyperparameter, default=0.0)
    scale: Hyperparameter = eqx.field(converter=hyperparameter, default=1.0)

    def __check_init__(self):
        require("mean", self.mean, np.isfinite, "finite")
        require("scale", self.scale, lambda value: (value >= 1e-20) & (value <= 1e20), "in [1e-20, 1e20]")

    def sample(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Draws an array of the given shape, whose entries are independent samples."""
        return self.mean.value + self.scale.value * jax.random.normal(key, shape)

    def quantile(self, level: float) -> Scalar:
        """Returns the quantile at a `level` in (0, 1)."""
        return jnp.asarray(self.mean.value + NormalDist().inv_cdf(level) * self.scale.value)

    def cdf(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Returns the cumulative distribution function of one coordinate, applied elementwise."""
        return norm.cdf(x, self.mean.value, self.scale.value)

    def log_prob(self, x: Point) -> Scalar:
        r"""Returns the log-density of a point, $\sum_i \log N(x_i; \text{mean}, \text{scale}^2)$.

        Coordinates are clipped to $10^{15}$ standard deviations from the mean.
        """
        x = jnp.asarray(x)
        deviations = jnp.clip((x - self.mean.value) / self.scale.value, -1e15, 1e15)  # the square must be finite
        return jnp.sum(norm.logpdf(deviations) - jnp.log(jnp.asarray(self.scale.value, x.dtype)))


def quantile_noise(prior: HasQuantiles | Any, count: int) -> Float[Array, "count 1"]:
    r"""Returns $n$ fixed noise samples that represent a prior over the real line: the quantiles of the prior at the
    levels $(j - \frac12) / n$, $j = 1, \dots, n$.

    - `prior`: A prior that [has quantiles][floqzoo.protocols.HasQuantiles], such as a `GaussianPrior`.
    - `count`: The number $n$ of samples, at least 1.

    **Raises** `TypeError` if the prior has no quantiles.
    """
    require_protocol("prior", prior, HasQuantiles)
    levels = (np.arange(count) + 0.5) / count
    return jnp.stack([prior.quantile(float(level)) for level in levels])[:, None]
