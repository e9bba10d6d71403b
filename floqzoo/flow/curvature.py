"""The curvature of trajectories."""

import jax.numpy as jnp

from floqzoo.records import Trajectory
from floqzoo.typing import Scalar


def path_curvature(trajectory: Trajectory) -> Scalar:
    r"""The mean squared deviation of a trajectory's velocity from the constant velocity $x_1 - x_0$.

    $$\int_0^1 \lVert \dot x_t - (x_1 - x_0) \rVert^2 \, dt$$

    with a constant velocity between successive states, and time rescaled to [0, 1]. It is 0 for a straight line at
    constant speed, for which one Euler step is exact; in one dimension it measures changes of speed. Its units are
    those of $x$, squared.

    Source: rectified flow (arXiv 2209.03003), section 2.3, which calls it straightness.
    """
    share = jnp.diff(trajectory.t) / (trajectory.t[-1] - trajectory.t[0])
    chord = trajectory.x[-1] - trajectory.x[0]
    velocity = jnp.diff(trajectory.x, axis=0) / share[:, None]
    return jnp.sum(share * jnp.sum((velocity - chord[None, :]) ** 2, axis=1))
