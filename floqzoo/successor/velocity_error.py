"""Error measures for velocities, which define the loss of a successor measure."""

import equinox as eqx
import jax.numpy as jnp

from floqzoo.flow.path import AffinePath
from floqzoo.protocols import ProbabilityPath
from floqzoo.typing import Point, Scalar, Time


class VelocityError(eqx.Module):
    r"""The error of flow matching, $\frac1d \lVert v - u \rVert^2$, for a velocity $v$ and its label $u$."""

    def error(self, path: ProbabilityPath, t: Time, velocity: Point, label: Point) -> Scalar:
        """Returns the squared error of the velocity, averaged over coordinates."""
        del path, t
        return jnp.mean((velocity - label) ** 2)


class NoiseError(eqx.Module):
    r"""The error of DDPM, $\frac1d \lVert \epsilon - \epsilon' \rVert^2$, between the noise predictions that correspond
    to two velocities at one point.

    It equals the velocity error multiplied by `AffinePath.noise_error_weight`, a function of time.

    Source: DDPM (arXiv 2006.11239), the simplified loss.
    """

    def error(self, path: AffinePath, t: Time, velocity: Point, label: Point) -> Scalar:
        """Returns the squared error of the noise prediction, averaged over coordinates."""
        return path.noise_error_weight(t) * jnp.mean((velocity - label) ** 2)
