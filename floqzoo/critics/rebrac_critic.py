"""The critic of ReBRAC: TD3's critic with a penalty on the distance between the next action and the data."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.critics.monolithic_critic import MonolithicMetrics, squared_td_error
from floqzoo.critics.q_ensemble import QEnsemble
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.records import FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class SmoothingNoise(eqx.Module):
    r"""Adds clipped Gaussian noise to actions:
    $\operatorname{clip}(a + \operatorname{clip}(\sigma \epsilon, -c, c), -1, 1)$ with $\epsilon \sim N(0, I)$.

    - `scale`: The standard deviation $\sigma$ before clipping, at least 0.
    - `limit`: The bound $c$ on the noise, at least 0.

    Source: TD3 (arXiv 1802.09477), section 5.3, where $\sigma = 0.2$ and $c = 0.5$.
    """

    scale: Hyperparameter = eqx.field(converter=hyperparameter, default=0.2)
    limit: Hyperparameter = eqx.field(converter=hyperparameter, default=0.5)

    def __check_init__(self):
        for name in ("scale", "limit"):
            require(name, getattr(self, name), lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")

    def add(self, action: Float[Array, "*batch action"], key: Key) -> Float[Array, "*batch action"]:
        """Adds noise to an action or to a batch of actions."""
        noise = self.scale.value * jax.random.normal(key, action.shape, jnp.result_type(action))
        return jnp.clip(action + jnp.clip(noise, -self.limit.value, self.limit.value), -1, 1)


class ReBRACCritic(eqx.Module):
    r"""A Q-function whose target penalises next actions that are far from the data.

    For an ensemble of $E$ Q-functions and a batch of $B$ transitions, the loss is

    $$\frac1{EB} \sum_{e,b} \bigl(Q_e(s, a) - y\bigr)^2, \qquad
    y = r + \gamma \, \text{discount}
    \Bigl( \min_e \bar Q_e(s', a') - \beta \lVert a' - a'_{\text{data}} \rVert^2 \Bigr),$$

    where $a' = \operatorname{clip}(\bar\pi(s') + \epsilon)$ is the action of the target policy with smoothing noise,
    and $a'_{\text{data}}$ is the action that was taken at $s'$ in the data. The batch must therefore contain
    `next_action`.

    - `networks`: The ensemble of Q-functions $Q_1, \dots, Q_E$.
    - `discount`: $\gamma$ in [0, 1). In the equation, $\text{discount}$ is the transition's own discount, which is 0
      for a terminal transition.
    - `beta`: The weight $\beta$ of the penalty, at least 0; the paper tunes it for each environment.
    - `noise`: The smoothing noise $\epsilon$.

    Source: ReBRAC (arXiv 2305.09836), equation 4, and the official code of FQL.
    """

    networks: QEnsemble
    discount: Hyperparameter = eqx.field(converter=hyperparameter, default=0.99)
    beta: Hyperparameter = eqx.field(converter=hyperparameter, default=0.01)
    noise: SmoothingNoise = SmoothingNoise()

    def __check_init__(self):
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")
        require("beta", self.beta, lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns the minimum of Q(s, a) over the members."""
        return jnp.min(self.networks.values(observation, action))

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, MonolithicMetrics]:
        """Returns the squared TD error, averaged over batch and members, and the metrics.

        **Raises** `ValueError` if the batch has no next actions.
        """
        data_action = batch.require("next_action", "ReBRAC")
        act_key, noise_key = jax.random.split(key)
        act_keys = jax.random.split(act_key, batch.reward.shape[0])
        with update_step("targets"):
            next_action = self.noise.add(jax.vmap(agent.target.act)(batch.next_observation, act_keys), noise_key)
            next_q = jnp.min(agent.target.critic.networks.batch_values(batch.next_observation, next_action), axis=0)
            penalty = self.beta.value * jnp.sum((next_action - data_action) ** 2, axis=1)
            td_target = jax.lax.stop_gradient(batch.reward + self.discount.value * batch.discount * (next_q - penalty))
        return squared_td_error(self.networks, batch, td_target)
