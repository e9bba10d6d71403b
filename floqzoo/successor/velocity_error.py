"""Error measures of velocities."""

import equinox as eqx
import jax.numpy as jnp

from floqzoo.flow.path import AffinePath
from floqzoo.protocols import ProbabilityPath
from floqzoo.typing import Point, Scalar, Time


class VelocityError(eqx.Module):
    r"""$\frac1d \lVert v - u \rVert^2$: the error of flow matching."""

    def error(self, path: ProbabilityPath, t: Time, velocity: Point, label: Point) -> Scalar:
        """The mean over coordinates."""
        del path, t
        return jnp.mean((velocity - label) ** 2)


class NoiseError(eqx.Module):
    r"""$\frac1d \lVert \epsilon - \epsilon' \rVert^2$ of the noise predictions of two velocities at one point: the
    error of DDPM.

    It is the velocity error times a function of time, `AffinePath.noise_error_weight`.

    Source: DDPM (arXiv 2006.11239), the simplified loss.
    """

    def error(self, path: AffinePath, t: Time, velocity: Point, label: Point) -> Scalar:
        """The mean over coordinates."""
        return path.noise_error_weight(t) * jnp.mean((velocity - label) ** 2)
