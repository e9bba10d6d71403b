"""Laws of velocity fields."""

import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.protocols import VelocityField
from floqzoo.testing.closeness import assert_close, assert_rows_are_mapped, compiled
from floqzoo.testing.examples import Example


def a_velocity_has_the_shape_of_its_point(field: VelocityField, example: Example) -> None:
    """$v(t, x)$ has the shape and the dtype of $x$, and is finite."""
    velocity = compiled(_velocity, field, example.t, example.x0, example.condition)
    assert velocity.shape == example.x0.shape, f"shape {velocity.shape} instead of {example.x0.shape}"
    assert velocity.dtype == example.x0.dtype, f"dtype {velocity.dtype} instead of {example.x0.dtype}"
    assert np.isfinite(velocity).all()


def a_code_is_valid_for_every_time_and_point(field: VelocityField, example: Example) -> None:
    """For one encoded condition, `jax.vmap` over times and points gives the same velocities as computing them one by
    one."""
    rows = (jnp.stack([example.t, example.s]), jnp.stack([example.x0, example.x1]))
    assert_rows_are_mapped(_velocity_under, rows, field, field.encode(*example.condition))


def a_batch_of_conditions_is_its_rows(field: VelocityField, example: Example) -> None:
    """`jax.vmap` over conditions gives the same velocities as computing them one by one."""
    conditions = tuple(jnp.stack([part, -part]) for part in example.condition)
    assert_rows_are_mapped(_velocity_given, conditions, field, example.t, example.x0)


def a_compiled_field_is_the_field(field: VelocityField, example: Example) -> None:
    """`jax.jit` changes the velocity only by rounding errors, and the time may be a Python number."""
    velocity = compiled(_velocity, field, example.t, example.x0, example.condition)
    assert_close(_velocity(field, example.t, example.x0, example.condition), velocity)
    assert_close(_velocity(field, float(example.t), example.x0, example.condition), velocity)


def a_velocity_can_be_differentiated(field: VelocityField, example: Example) -> None:
    r"""Forward- and reverse-mode differentiation give the same finite Jacobian $\partial v / \partial x$.

    Log-densities are computed from its trace.
    """
    forward, reverse = compiled(_jacobians, field, example.t, example.x0, example.condition)
    assert_close(reverse, forward)


def _velocity(field: VelocityField, t, x, condition):
    return field.velocity(t, x, field.encode(*condition))


def _velocity_under(time_and_point, field: VelocityField, code):
    t, x = time_and_point
    return field.velocity(t, x, code)


def _velocity_given(condition, field: VelocityField, t, x):
    return field.velocity(t, x, field.encode(*condition))


def _jacobians(field: VelocityField, t, x, condition):
    code = field.encode(*condition)
    return tuple(mode(lambda x: field.velocity(t, x, code))(x) for mode in (jax.jacfwd, jax.jacrev))


field_laws = (
    a_velocity_has_the_shape_of_its_point,
    a_code_is_valid_for_every_time_and_point,
    a_batch_of_conditions_is_its_rows,
    a_compiled_field_is_the_field,
    a_velocity_can_be_differentiated,
)
