"""Velocity fields whose flows have closed forms, for solvers to be tried on."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from floqzoo.typing import Point, Time


class Wave(eqx.Module):
    r"""$v(t, x) = c + a \sin(x + t)$ in each coordinate, with $|a| \le 1$; constant where $a = 0$.

    Along its curves, $|\ddot x| \le |a| (1 + |c| + |a|)$.
    """

    constant: Float[Array, " dim"]
    amplitude: Float[Array, ""]

    def __call__(self, t: Time, x: Point) -> Point:
        """The velocity."""
        return self.constant + self.amplitude * jnp.sin(x + t)


class TowardsPoint(eqx.Module):
    r"""$v(t, x) = u - c \, (x - y_t) / (1 - t)$: a pull of strength $c$ to the straight line $y_t = x_1 - (1 - t) u$.

    For $c = 1$ this is $(x_1 - x) / (1 - t)$, the marginal velocity of the straight path that ends in $x_1$. An Euler step of $1 / K$ from $t = k / K$ multiplies the distance from the line by
    $1 - c / (K - k)$.
    """

    target: Float[Array, " dim"]
    velocity: Float[Array, " dim"]
    strength: Float[Array, ""]

    def __call__(self, t: Time, x: Point) -> Point:
        """The velocity; not defined at t = 1."""
        return self.velocity - self.strength * (x - self.target + (1 - t) * self.velocity) / (1 - t)


class Observed:
    """Wraps a velocity field and keeps the times at which it is evaluated, in the order of evaluation."""

    def __init__(self, velocity):
        self.velocity = velocity
        self.times: list[float] = []

    def __call__(self, t: Time, x: Point) -> Point:
        """The velocity, while the time is written down."""
        t = jnp.asarray(t, dtype=x.dtype)
        # The callback gives back the time that the velocity is computed from, so that no compiler can leave it out.
        seen = jax.pure_callback(self._write_down, jax.ShapeDtypeStruct((), x.dtype), t, vmap_method="sequential")
        return self.velocity(seen, x)

    def _write_down(self, t):
        self.times.append(float(t))
        return t
