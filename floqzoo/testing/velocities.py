"""Velocity fields with closed-form flows, for tests of solvers."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.typing import Array, Point, Time


class Wave(eqx.Module):
    r"""$v(t, x) = c + a \sin(x + t)$ in each coordinate, with $|a| \le 1$; the field is constant if $a = 0$.

    Its solutions satisfy $|\ddot x| \le |a| (1 + |c| + |a|)$.
    """

    constant: Float[Array, " dim"]
    amplitude: Float[Array, ""]

    def __call__(self, t: Time, x: Point) -> Point:
        """Returns the velocity."""
        return self.constant + self.amplitude * jnp.sin(x + t)


class Growing(eqx.Module):
    r"""$v(t, x) = \pm x + t$ in each coordinate.

    Along a solution, $x \pm t + 1$ is multiplied by $e^{\pm(t_1 - t_0)}$ from $t_0$ to $t_1$.
    """

    sign: Float[Array, ""]

    def __call__(self, t: Time, x: Point) -> Point:
        """Returns the velocity."""
        return self.sign * x + t


class Observed:
    """Wraps a velocity field and records the times at which it is evaluated, in order."""

    def __init__(self, velocity):
        self.velocity = velocity
        self.times: list[float] = []

    def __call__(self, t: Time, x: Point) -> Point:
        """Records the time, and returns the velocity."""
        velocity = self.velocity(t, x)
        # The velocity passes through the callback, so that no compiler can leave it out.
        form = jax.ShapeDtypeStruct(velocity.shape, velocity.dtype)
        return jax.pure_callback(self._write_down, form, t, velocity, vmap_method="sequential")

    def _write_down(self, t, velocity):
        self.times.append(float(t))
        return velocity
