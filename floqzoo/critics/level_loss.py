"""Losses that are minimised by a quantile or an expectile of the target distribution."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.typing import Array


class HuberQuantileLoss(eqx.Module):
    r"""The quantile Huber loss, $\lvert \tau - 1[\delta < 0] \rvert \, H_\kappa(\delta) / \kappa$.

    Here $\tau$ is the level, $\delta$ is the target minus the prediction, and $H_\kappa$ is the Huber function:

    $$H_\kappa(\delta) = \tfrac12 \delta^2 \text{ if } \lvert \delta \rvert \le \kappa, \text{ else }
    \kappa (\lvert \delta \rvert - \tfrac12 \kappa).$$

    The loss is minimised by the quantile of the target at level $\tau$ in the limit $\kappa \to 0$, and by the
    expectile in the limit $\kappa \to \infty$.

    - `kappa`: The threshold $\kappa$, above 0 and finite, in units of reward.

    Source: QR-DQN (arXiv 1710.10044), equation 10, and IQN (arXiv 1806.06923), equation 3.
    """

    kappa: Hyperparameter = eqx.field(converter=hyperparameter, default=1.0)

    def __check_init__(self):
        require("kappa", self.kappa, lambda value: np.isfinite(value) & (value > 0), "above 0 and finite")

    def losses(self, errors: Float[Array, "..."], levels: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns the loss of each error at its level in [0, 1]; errors and levels are broadcast against each other."""
        kappa, size = self.kappa.value, jnp.abs(errors)
        huber = jnp.where(size <= kappa, errors**2 / 2, kappa * (size - kappa / 2))
        return _side_weights(errors, levels) * huber / kappa


class ExpectileLoss(eqx.Module):
    r"""The expectile loss, $\lvert \tau - 1[\delta < 0] \rvert \, \delta^2$.

    Here $\tau$ is the level, and $\delta$ is the target minus the prediction. The loss is minimised by the expectile of
    the target at level $\tau$.

    Source: the IQN critic in the official code of floq (arXiv 2509.06863), which uses this loss instead of a quantile
    loss.
    """

    def losses(self, errors: Float[Array, "..."], levels: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns the loss of each error at its level in [0, 1]; errors and levels are broadcast against each other."""
        return _side_weights(errors, levels) * errors**2


def _side_weights(errors: Float[Array, "..."], levels: Float[Array, "..."]) -> Float[Array, "..."]:
    """The level if the target is above the prediction, and 1 minus the level if it is below."""
    return jnp.where(errors < 0, 1 - levels, levels)
