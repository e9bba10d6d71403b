"""What every velocity field promises."""

import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.protocols import VelocityField
from floqzoo.testing.closeness import assert_close, assert_rows_are_mapped
from floqzoo.testing.examples import Example
from floqzoo.typing import Point


def a_velocity_has_the_form_of_its_point(field: VelocityField, example: Example) -> None:
    """$v(t, x)$ has the shape and the dtype of $x$, and is finite."""
    velocity = _velocity(field, example)
    assert velocity.shape == example.x0.shape, f"shape {velocity.shape} instead of {example.x0.shape}"
    assert velocity.dtype == example.x0.dtype, f"dtype {velocity.dtype} instead of {example.x0.dtype}"
    assert np.isfinite(velocity).all()


def a_code_serves_every_time_and_point(field: VelocityField, example: Example) -> None:
    """Under one code, `jax.vmap` over points, or over times, is the velocities one by one."""
    code = field.encode(*example.condition)
    points, times = jnp.stack([example.x0, example.x1]), jnp.stack([example.t, example.s])
    assert_rows_are_mapped(lambda x: field.velocity(example.t, x, code), points)
    assert_rows_are_mapped(lambda t: field.velocity(t, example.x0, code), times)


def a_batch_of_conditions_is_its_rows(field: VelocityField, example: Example) -> None:
    """`jax.vmap` over conditions is the velocities one by one."""
    batch = tuple(jnp.stack([part, -part]) for part in example.condition)

    def velocity(*condition):
        return field.velocity(example.t, example.x0, field.encode(*condition))

    rows = [velocity(*(part[i] for part in batch)) for i in range(2)]
    assert_close(jax.vmap(velocity)(*batch), jnp.stack(rows))


def a_compiled_field_is_the_field(field: VelocityField, example: Example) -> None:
    """`jax.jit` changes nothing but rounding, and a time may be a number of Python."""
    code = field.encode(*example.condition)
    compiled = jax.jit(lambda t, x: field.velocity(t, x, code))(example.t, example.x0)
    assert_close(compiled, _velocity(field, example))
    assert_close(field.velocity(float(example.t), example.x0, code), compiled)


def a_velocity_can_be_differentiated(field: VelocityField, example: Example) -> None:
    r"""Forward and reverse mode give one finite Jacobian $\partial v / \partial x$: log-densities need its trace."""
    code = field.encode(*example.condition)
    forward = jax.jacfwd(lambda x: field.velocity(example.t, x, code))(example.x0)
    assert_close(jax.jacrev(lambda x: field.velocity(example.t, x, code))(example.x0), forward)


def _velocity(field: VelocityField, example: Example) -> Point:
    return field.velocity(example.t, example.x0, field.encode(*example.condition))


field_laws = (
    a_velocity_has_the_form_of_its_point,
    a_code_serves_every_time_and_point,
    a_batch_of_conditions_is_its_rows,
    a_compiled_field_is_the_field,
    a_velocity_can_be_differentiated,
)
