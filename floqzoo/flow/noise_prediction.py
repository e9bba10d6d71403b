"""A velocity field based on a network that predicts noise, as in diffusion models."""

import equinox as eqx
import jax.numpy as jnp

from floqzoo.flow.path import AffinePath, VariancePreservingPath
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.protocols import VelocityField
from floqzoo.typing import Code, Condition, Point, Time


class NoisePrediction(eqx.Module):
    r"""Converts a network that predicts the noise $\epsilon = \epsilon_\theta(t, x \mid c)$ into the velocity field
    $v(t, x \mid c) = \dot\beta_t \epsilon + \frac{\dot\alpha_t}{\alpha_t} (x - \beta_t \epsilon)$.

    - `network`: $\epsilon_\theta$, with the methods of a velocity field; its `velocity` returns the predicted noise.
    - `path`: The probability path $x_t = \alpha_t x_1 + \beta_t x_0$. It must have $\alpha_0 > 0$, like the path of
      diffusion models.
    - `end`: A time in (0, 1). Later times are clipped to `end`, because the velocity of a diffusion model is infinite
      at $t = 1$. 0.999 is the time of the lowest of DDPM's 1000 noise levels.

    Source: DDPM (arXiv 2006.11239), with the probability flow of arXiv 2011.13456.
    """

    network: VelocityField
    path: AffinePath = VariancePreservingPath()
    end: Hyperparameter = eqx.field(converter=hyperparameter, default=0.999)

    def __check_init__(self):
        require("end", self.end, lambda value: (value > 0) & (value < 1), "in (0, 1)")

    def encode(self, *condition: Condition) -> Code:
        """Encodes the condition; called once per solve."""
        return self.network.encode(*condition)

    def velocity(self, t: Time, x: Point, code: Code) -> Point:
        """Returns the velocity at `x` of the path that starts at the predicted noise and passes through `x`."""
        t = jnp.minimum(jnp.asarray(t, dtype=float), self.end.value)
        return self.path.velocity_of_noise(t, x, self.network.velocity(t, x, code)).astype(jnp.result_type(x))
