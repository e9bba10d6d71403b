"""A velocity field whose network predicts the noise, as diffusion models do."""

import equinox as eqx
from jaxtyping import Array, Float

from floqzoo.flow.path import AffinePath, VariancePreserving
from floqzoo.protocols import VelocityField
from floqzoo.typing import Code, Point, Time


class NoisePrediction(eqx.Module):
    r"""$v(t, x \mid c) = \dot\beta_t \epsilon + \frac{\dot\alpha_t}{\alpha_t} (x - \beta_t \epsilon)$,
    with $\epsilon = \epsilon_\theta(t, x \mid c)$.

    - `network`: $\epsilon_\theta$, with the methods of a velocity field.
    - `path`: The path along which the noise is predicted; one with $\alpha_0 > 0$, such as diffusion's.

    Source: DDPM (arXiv 2006.11239); its probability flow, arXiv 2011.13456.
    """

    network: VelocityField
    path: AffinePath = VariancePreserving()

    def encode(self, *condition: Float[Array, " _"]) -> Code:
        """The condition, as the network reads it."""
        return self.network.encode(*condition)

    def velocity(self, t: Time, x: Point, code: Code) -> Point:
        """The velocity of the path that began in the predicted noise."""
        return self.path.velocity_of_noise(t, x, self.network.velocity(t, x, code))
