"""Step counts that are powers of two, for flows that are trained with varying numbers of Euler steps."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.flow.fixed_step import Euler
from floqzoo.records import StepCount
from floqzoo.typing import Array, Key, Point, Time, Velocity


def require_power_of_two(name: str, value: int, least: int = 1) -> None:
    """Checks that `value` is a power of two and at least `least`.

    **Raises** `ValueError` if it is not; the message calls the argument `name`.
    """
    if value < least or value & (value - 1):
        raise ValueError(f"`{name}` must be a power of two, at least {least}; got {value}.")


def draw_step_count(key: Key, max_steps: int) -> StepCount:
    """Draws 1, 2, 4, ... or `max_steps`, all with equal probability; `max_steps` must be a power of two."""
    return StepCount(1 << jax.random.randint(key, (), 0, max_steps.bit_length()), max_steps)


def solve_in_steps(velocity: Velocity, x0: Point, steps: StepCount) -> Point:
    r"""Integrates from $t = 0$ to $t = 1$ in $k$ Euler steps, $x_{i+1} = x_i + \frac1k v(\frac ik, x_i)$.

    The number $k$ is `steps.value`. If $k$ is drawn at random, a solve always takes `steps.at_most` evaluations of the
    velocity. The solve is reverse-differentiable.
    """
    if isinstance(steps.value, int):
        return Euler(steps.value).solve(velocity, x0)

    def until_one(t: Time, x: Point) -> Point:
        # After time 1 the field may be undefined, also for the gradient, which passes through both sides of a `where`.
        return jnp.where(t < 1, velocity(jnp.where(t < 1, t, 0), x), 0)

    # Steps of length 1/k; those after time 1 do not move the point. Quotients of powers of two are exact.
    return Euler(steps.at_most).solve(until_one, x0, 0.0, steps.at_most / jnp.asarray(steps.value, jnp.result_type(x0)))


def draw_grid_times(key: Key, counts: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    r"""Draws independent times, one for each $k$ in `counts`, uniformly from $\{0, \frac1k, \dots, \frac{k-1}k\}$."""
    return jnp.floor(jax.random.uniform(key, counts.shape, jnp.result_type(counts)) * counts) / counts
