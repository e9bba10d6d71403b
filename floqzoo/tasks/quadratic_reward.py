"""A quadratic reward, whose expectation depends only on the mean and the covariance of the state."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from floqzoo.hyperparameter import Hyperparameter, hyperparameter
from floqzoo.typing import Array, Observation, Scalar


class QuadraticReward(eqx.Module):
    r"""A quadratic reward of a state $x$: $r(x) = x^\top C x + c^\top x + b$.

    - `quadratic`, `linear`, `constant`: $C$, $c$ and $b$. With $C = 0$ the reward is linear; with $c = 0$ too, it is
      constant.
    """

    quadratic: Hyperparameter
    linear: Hyperparameter
    constant: Hyperparameter

    def __init__(
        self,
        quadratic: Float[Array | np.ndarray, "d d"],
        linear: Float[Array | np.ndarray, " d"],
        constant: float = 0.0,
    ):
        self.quadratic = hyperparameter(quadratic)
        self.linear = hyperparameter(linear)
        self.constant = hyperparameter(constant)

    def __call__(self, x: Observation) -> Scalar:
        """Returns the reward of a state."""
        return x @ self.quadratic.value @ x + self.linear.value @ x + self.constant.value
