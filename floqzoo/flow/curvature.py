"""The curvature of trajectories."""

import jax.numpy as jnp

from floqzoo.records import Trajectory
from floqzoo.typing import Scalar


def path_curvature(trajectory: Trajectory) -> Scalar:
    r"""Returns the mean squared deviation of a trajectory's velocity from the constant velocity $x_1 - x_0$.

    $$\int_0^1 \lVert \dot x_t - (x_1 - x_0) \rVert^2 \, dt$$

    Time is rescaled to [0, 1], and the velocity between successive states is taken to be constant. The curvature is 0
    if the point moves in a straight line at constant speed, in which case one Euler step is exact. In one dimension,
    the curvature measures changes of speed. It has the units of $x$, squared.

    Source: rectified flow (arXiv 2209.03003), section 2.3, where the quantity is called straightness.
    """
    share = jnp.diff(trajectory.t) / (trajectory.t[-1] - trajectory.t[0])
    chord = trajectory.x[-1] - trajectory.x[0]
    velocity = jnp.diff(trajectory.x, axis=0) / share[:, None]
    return jnp.sum(share * jnp.sum((velocity - chord[None, :]) ** 2, axis=1))
