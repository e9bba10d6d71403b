"""A Gaussian policy trained by advantage-weighted regression."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.policies.unit_gaussian_policy import UnitGaussianPolicy
from floqzoo.protocols import HasAdvantage, require_protocol
from floqzoo.records import FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Key, Scalar


class AWRMetrics(eqx.Module):
    """The metrics of an advantage-weighted policy on a batch.

    - `actor_loss`: Minus the mean of the weighted log-densities.
    - `advantage`: The mean advantage of the data's actions.
    - `bc_log_prob`: The mean log-density of the data's actions.
    - `mse`: Squared distance of the policy's mean from the data's actions, averaged over coordinates.
    """

    actor_loss: Scalar
    advantage: Scalar
    bc_log_prob: Scalar
    mse: Scalar


class AWRPolicy(UnitGaussianPolicy):
    r"""A policy $\pi(\cdot \mid s) = N(f(s), I)$, trained by advantage-weighted regression.

    $$-\mathbb E \, \min\bigl(e^{\alpha A(s, a)}, w_{\max}\bigr) \log \pi(a \mid s),
    \qquad A = \min_e Q_e(s, a) - V(s)$$

    It acts with its mean, and explores with samples, both clipped to [-1, 1].

    - `network`: $f$, from an observation to the mean of an action.
    - `alpha`: The inverse temperature $\alpha$, at least 0; 0 is behaviour cloning.
    - `max_weight`: $w_{\max}$, above 0; 100 in the official code of IQL.

    Source: AWR (arXiv 1910.00177) as in IQL (arXiv 2110.06169), equation 7, and the official code of FQL, where the
    standard deviation is 1.
    """

    alpha: Hyperparameter = eqx.field(converter=hyperparameter, default=10.0)
    max_weight: Hyperparameter = eqx.field(converter=hyperparameter, default=100.0)

    def __check_init__(self):
        require("alpha", self.alpha, lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")
        require("max_weight", self.max_weight, lambda value: np.isfinite(value) & (value > 0), "above 0 and finite")

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, AWRMetrics]:
        """The weighted regression loss, averaged over the batch, and its metrics; the key is not used.

        **Raises** `TypeError` if the critic has no `advantage`.
        """
        del key
        require_protocol("critic", agent.critic, HasAdvantage)
        with update_step("advantage"):
            advantage = jax.vmap(agent.critic.advantage)(batch.observation, batch.action)
        # The minimum is taken first, since the exponential of a large advantage would be infinite.
        weight = jnp.exp(jnp.minimum(self.alpha.value * advantage, jnp.log(self.max_weight.value)))
        log_prob = jax.vmap(self.log_prob)(batch.action, batch.observation)
        loss = -jnp.mean(batch.counted(weight * log_prob))
        return loss, AWRMetrics(loss, jnp.mean(advantage), jnp.mean(log_prob), self.mean_squared_error(batch))
