r"""Probability paths $x_t = \alpha_t x_1 + \beta_t x_0$, from noise at $t = 0$ to data at $t = 1$.

A path is defined by four functions of time; `AffinePath` implements everything else.
"""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require, require_ordered
from floqzoo.records import PathPoint
from floqzoo.typing import Array, Point, Scalar, Time


Coefficient = Float[Array, ""] | float | int


class PathCoefficients(eqx.Module):
    r"""The coefficients $\alpha_t$ and $\beta_t$ of a path, and their time derivatives, at one time."""

    alpha: Coefficient
    beta: Coefficient
    alpha_rate: Coefficient
    beta_rate: Coefficient


class PathEnds(eqx.Module):
    """The endpoints of a conditional path: `x0` is noise, `x1` is data."""

    x0: Point
    x1: Point


def _inside(t: Time) -> Time:
    r"""`t` clipped to $[\epsilon, 1 - \epsilon]$, where $1 - \epsilon$ is the largest floating-point number below 1, so
    that quotients are finite."""
    t = jnp.asarray(t, dtype=float)
    least = float(jnp.finfo(t.dtype).epsneg)
    return jnp.clip(t, least, 1 - least)


def _held(x: Point) -> Point:
    """`x` clipped to the square root of the largest representable number, so that products are finite."""
    x = jnp.asarray(x)
    most = float(jnp.finfo(jnp.float64 if x.dtype == jnp.float64 else jnp.float32).max) ** 0.5
    return jnp.clip(x, -most, most)


class AffinePath(eqx.Module):
    r"""The base class of paths $x_t = \alpha_t x_1 + \beta_t x_0$, with velocity $\dot\alpha_t x_1 + \dot\beta_t x_0$.

    A subclass defines `coefficients`.

    The coordinates of points and velocities are clipped to the square root of the largest representable number
    ($1.8 \times 10^{19}$ in float32), so that results and their gradients are finite; larger coordinates have no
    meaning in training.
    """

    @abc.abstractmethod
    def coefficients(self, t: Time) -> PathCoefficients:
        """Returns the coefficients at time `t`."""

    def at(self, t: Time, x0: Point, x1: Point) -> PathPoint:
        """Returns the point at time `t` on the path from noise `x0` to data `x1`, and the velocity at that point."""
        c, x0, x1 = self.coefficients(t), _held(x0), _held(x1)
        return PathPoint(c.alpha * x1 + c.beta * x0, c.alpha_rate * x1 + c.beta_rate * x0)

    def conditional_velocity(self, t: Time, x: Point, x1: Point) -> Point:
        r"""Returns $u_t(x | x_1) = \dot\alpha_t x_1 + \frac{\dot\beta_t}{\beta_t} (x - \alpha_t x_1)$.

        This is the velocity at `x` of the path that ends at `x1`; the noise need not be known. The velocity is singular
        where $\beta_t = 0$. For $t = 1$, the result is therefore the velocity at the largest floating-point
        number below 1, $t = 1 - 2^{-24}$ in float32.
        """
        c, x, x1 = self.coefficients(_inside(t)), _held(x), _held(x1)
        return c.alpha_rate * x1 + c.beta_rate / c.beta * (x - c.alpha * x1)

    def velocity_of_noise(self, t: Time, x: Point, x0: Point) -> Point:
        r"""Returns $\dot\beta_t x_0 + \frac{\dot\alpha_t}{\alpha_t} (x - \beta_t x_0)$, the velocity at `x` of the path
        that starts at `x0`.

        This converts the noise that a diffusion model predicts into a velocity. The velocity is singular where
        $\alpha_t = 0$. For $t = 0$, the result is therefore the velocity at $t = 2^{-24}$ (in float32).
        """
        c, x, x0 = self.coefficients(_inside(t)), _held(x), _held(x0)
        return c.beta_rate * x0 + c.alpha_rate / c.alpha * (x - c.beta * x0)

    def ends_of(self, t: Time, x: Point, velocity: Point) -> PathEnds:
        r"""Returns the noise $x_0$ and the data $x_1$ of the path that passes through `x` with the given velocity.

        They solve $x = \alpha_t x_1 + \beta_t x_0$ and $v = \dot\alpha_t x_1 + \dot\beta_t x_0$.
        """
        c, x, velocity = self.coefficients(t), _held(x), _held(velocity)
        determinant = c.alpha_rate * c.beta - c.alpha * c.beta_rate
        return PathEnds(
            x0=(c.alpha_rate * x - c.alpha * velocity) / determinant,
            x1=(c.beta * velocity - c.beta_rate * x) / determinant,
        )

    def noise_error_weight(self, t: Time) -> Scalar:
        r"""Returns the squared noise error divided by the squared velocity error,
        $\bigl(\alpha_t / (\alpha_t \dot\beta_t - \dot\alpha_t \beta_t)\bigr)^2$.

        The difference of two velocities at one point is $\dot\beta_t - \dot\alpha_t \beta_t / \alpha_t$ times the
        difference of the corresponding noise predictions.
        """
        c = self.coefficients(t)
        return jnp.square(jnp.asarray(c.alpha / (c.alpha * c.beta_rate - c.alpha_rate * c.beta), dtype=float))


class LinearPath(AffinePath):
    r"""The straight line $x_t = t x_1 + (1 - t) x_0$, with velocity $x_1 - x_0 = (x_1 - x_t) / (1 - t)$.

    floq, FQL and TD-Flow use this path.

    Source: rectified flow (arXiv 2209.03003).
    """

    def coefficients(self, t: Time) -> PathCoefficients:
        r"""Returns $\alpha_t = t$ and $\beta_t = 1 - t$, with their derivatives."""
        return PathCoefficients(t, 1 - t, 1.0, -1.0)


class OptimalTransportPath(AffinePath):
    r"""The straight line $x_t = t x_1 + (1 - (1 - \sigma_{\min}) t) x_0$, which ends in a Gaussian around the data.

    - `sigma_min`: $\sigma_{\min}$ in (0, 1), the standard deviation that remains at $t = 1$ if the noise has unit
      variance.

    Source: flow matching (arXiv 2210.02747), example II.
    """

    sigma_min: Hyperparameter = eqx.field(converter=hyperparameter, default=1e-4)

    def __check_init__(self):
        require("sigma_min", self.sigma_min, lambda value: (value > 0) & (value < 1), "in (0, 1)")

    @property
    def end_error(self) -> Scalar:
        """The weight of the noise that remains at $t = 1$: `sigma_min`."""
        return jnp.asarray(self.sigma_min.value)

    def coefficients(self, t: Time) -> PathCoefficients:
        r"""Returns $\alpha_t = t$ and $\beta_t = 1 - (1 - \sigma_{\min}) t$, with their derivatives."""
        shrink = 1 - jnp.asarray(self.sigma_min.value)
        return PathCoefficients(t, 1 - shrink * t, 1.0, -shrink)


class TrigonometricPath(AffinePath):
    r"""The quarter circle $x_t = \sin(\tfrac{\pi t}{2}) x_1 + \cos(\tfrac{\pi t}{2}) x_0$, the curved path of TD-Flow.

    If $x_0$ and $x_1$ are independent and have unit variance, so does $x_t$ for every $t$.

    Source: TD-Flow (arXiv 2503.09817), table 2; stochastic interpolants (arXiv 2303.08797).
    """

    def coefficients(self, t: Time) -> PathCoefficients:
        r"""Returns $\alpha_t = \sin(\pi t / 2)$ and $\beta_t = \cos(\pi t / 2)$, with their derivatives."""
        t, rate = jnp.asarray(t, dtype=float), jnp.pi / 2
        # Not the cosine of the angle, which is negative in float32 just before t = 1.
        alpha, beta = jnp.sin(rate * t), jnp.sin(rate * (1 - t))
        return PathCoefficients(alpha, beta, rate * beta, -rate * alpha)


class VariancePreservingPath(AffinePath):
    r"""The path of diffusion models, with $\alpha_t = e^{-\frac12 B(1 - t)}$, $\beta_t = \sqrt{1 - \alpha_t^2}$ and
    $B(s) = b_{\min} s + \frac12 (b_{\max} - b_{\min}) s^2$.

    Time runs from noise to data, so the diffusion time is $s = 1 - t$. At $t = 0$, the data still have the weight
    $\alpha_0 = e^{-\frac12 B(1)}$ (0.0066 for the defaults). The velocity is singular at $t = 1$, where it grows like
    $(1 - t)^{-1/2}$. Times are therefore clipped to $[\epsilon, 1 - \epsilon]$, with $\epsilon = 2^{-24}$ in float32.

    - `low`, `high`: The minimum and maximum noise rates $b_{\min}$ and $b_{\max}$; 0.001 $\le$ low < high $\le$ 40.

    **Raises** `ValueError` for other rates, for which gradients may not be representable in float32: with a rate above
    40, $\alpha_0$ may be too small; with a minimum rate below 0.001, $\beta_t$ may be too small near $t = 1$.

    Source: score-based SDEs (arXiv 2011.13456), with the defaults of that paper; written as a path in arXiv 2210.02747,
    example I.
    """

    low: Hyperparameter = eqx.field(converter=hyperparameter, default=0.1)
    high: Hyperparameter = eqx.field(converter=hyperparameter, default=20.0)

    def __check_init__(self):
        require("low", self.low, lambda value: np.isfinite(value) & (value >= 1e-3), "at least 0.001 and finite")
        require("high", self.high, lambda value: (value > 1e-3) & (value <= 40), "in (0.001, 40]")
        require_ordered(self.low, self.high)

    @property
    def end_error(self) -> Scalar:
        r"""The weight of the data that remains at $t = 0$: $\alpha_0 = e^{-\frac14 (b_{\min} + b_{\max})}$."""
        return jnp.exp(-(jnp.asarray(self.low.value) + self.high.value) / 4)

    def coefficients(self, t: Time) -> PathCoefficients:
        r"""Returns $\alpha_t$, $\beta_t$ and their derivatives: $\dot\alpha_t = \frac12 b(s) \alpha_t$,
        $\dot\beta_t = -\alpha_t \dot\alpha_t / \beta_t$, with $s = 1 - t$ and
        $b(s) = b_{\min} + (b_{\max} - b_{\min}) s$.
        """
        s = 1 - _inside(t)
        slope = self.high.value - self.low.value
        integral = self.low.value * s + slope * s**2 / 2
        alpha = jnp.exp(-integral / 2)
        beta = jnp.sqrt(-jnp.expm1(-integral))
        alpha_rate = (self.low.value + slope * s) * alpha / 2
        return PathCoefficients(alpha, beta, alpha_rate, -alpha * alpha_rate / beta)
