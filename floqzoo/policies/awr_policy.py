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
    - `mse`: The squared distance between the policy's mean and the data's actions, averaged over coordinates.
    """

    actor_loss: Scalar
    advantage: Scalar
    bc_log_prob: Scalar
    mse: Scalar


class AWRPolicy(UnitGaussianPolicy):
    r"""A Gaussian policy $\pi(\cdot \mid s) = N(f(s), I)$, trained by advantage-weighted regression.

    The loss is the negative log-likelihood of the data's actions, weighted by their exponentiated advantages:

    $$-\mathbb E \, \min\bigl(e^{\alpha A(s, a)}, w_{\max}\bigr) \log \pi(a \mid s),
    \qquad A = \min_e Q_e(s, a) - V(s),$$

    where the minimum is over the members $Q_e$ of the critic's ensemble.

    The policy acts with its mean and explores with samples; both are clipped to [-1, 1].

    - `network`: The network $f$, which maps an observation to the mean of the action.
    - `alpha`: The inverse temperature $\alpha$, at least 0; with 0, the policy is trained by behaviour cloning.
    - `max_weight`: The upper bound $w_{\max}$ of the weights, above 0; 100 in the official code of IQL.

    Source: AWR (arXiv 1910.00177) as in IQL (arXiv 2110.06169), equation 7, and the official code of FQL, where the
    standard deviation is 1.
    """

    alpha: Hyperparameter = eqx.field(converter=hyperparameter, default=10.0)
    max_weight: Hyperparameter = eqx.field(converter=hyperparameter, default=100.0)

    def __check_init__(self):
        require("alpha", self.alpha, lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")
        require("max_weight", self.max_weight, lambda value: np.isfinite(value) & (value > 0), "above 0 and finite")

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, AWRMetrics]:
        """Returns the weighted regression loss, averaged over the batch, and the metrics; the key is not used.

        **Raises** `TypeError` if the critic has no method `advantage`.
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
