"""The critic of implicit Q-learning: a Q-function, and a state value that is an expectile of Q over actions."""

import equinox as eqx
import jax
import jax.numpy as jnp

from floqzoo.critics.q_ensemble import QEnsemble
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.protocols import Network
from floqzoo.records import FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Key, Observation, Scalar


class IQLMetrics(eqx.Module):
    """The metrics of an `IQLCritic` on a batch.

    - `critic_loss`: `value_loss` + `q_loss`.
    - `value_loss`: The expectile loss of V, averaged over the batch.
    - `q_loss`: The squared TD error of Q, summed over members and averaged over the batch.
    - `q_mean`, `q_max`, `q_min`: Mean, maximum and minimum of Q over batch and members.
    - `v_mean`, `v_max`, `v_min`: Mean, maximum and minimum of V over the batch.
    """

    critic_loss: Scalar
    value_loss: Scalar
    q_loss: Scalar
    q_mean: Scalar
    q_max: Scalar
    q_min: Scalar
    v_mean: Scalar
    v_max: Scalar
    v_min: Scalar


class IQLCritic(eqx.Module):
    r"""A Q-function and a state value V, learnt without evaluating actions outside the data.

    For an ensemble of $E$ Q-functions and a batch of $B$ transitions, the losses of V and Q are

    $$\frac1B \sum_b \left|\kappa - 1[u < 0]\right| u^2, \quad u = \min_e \bar Q_e(s, a) - V(s), \qquad
    \frac1B \sum_b \sum_e \bigl(Q_e(s, a) - r - \gamma \, \text{discount} \cdot V(s')\bigr)^2$$

    V learns an expectile of $\min_e \bar Q_e$, the minimum over the members of the target critic. Q bootstraps from the
    current V rather than from a target network. Neither loss uses the policy.

    - `networks`: The ensemble of Q-functions $Q_1, \dots, Q_E$.
    - `value_network`: $V$, a network that maps an observation to one number.
    - `discount`: $\gamma$ in [0, 1). In the losses, $\text{discount}$ is the transition's own discount, which is 0 for
      a terminal transition.
    - `expectile`: $\kappa$ in (0, 1). With 0.5, V is the mean of Q over the actions in the data; as $\kappa$ tends to
      1, V tends to the maximum.

    Source: IQL (arXiv 2110.06169), equations 5 and 6, with a sum over members as in the official code of FQL.
    """

    networks: QEnsemble
    value_network: Network
    discount: Hyperparameter = eqx.field(converter=hyperparameter, default=0.99)
    expectile: Hyperparameter = eqx.field(converter=hyperparameter, default=0.9)

    def __check_init__(self):
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")
        require("expectile", self.expectile, lambda value: (value > 0) & (value < 1), "in (0, 1)")

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns the minimum of Q(s, a) over the members."""
        return jnp.min(self.networks.values(observation, action))

    def advantage(self, observation: Observation, action: Action) -> Scalar:
        r"""Returns the advantage of an action, $\min_e Q_e(s, a) - V(s)$."""
        return self.score(observation, action) - self.state_value(observation)

    def state_value(self, observation: Observation) -> Scalar:
        """Returns the state value V(s)."""
        return self.value_network(observation)[0]

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, IQLMetrics]:
        """Returns the sum of the losses of V and Q, and the metrics; the key is not used."""
        del key
        with update_step("targets"):
            target_q = agent.target.critic.networks.batch_values(batch.observation, batch.action)
        v = jax.vmap(self.state_value)(batch.observation)
        gap = jnp.min(target_q, axis=0) - v
        weight = jnp.where(gap < 0, 1 - self.expectile.value, self.expectile.value)
        value_loss = jnp.mean(batch.counted(weight * gap**2))

        with update_step("targets"):
            next_v = jax.vmap(agent.critic.state_value)(batch.next_observation)
            td_target = batch.reward + self.discount.value * batch.discount * next_v
        q = self.networks.batch_values(batch.observation, batch.action)
        q_loss = jnp.mean(batch.counted(jnp.sum((q - td_target[None, :]) ** 2, axis=0)))

        ranges = [reduce(x) for x in (q, v) for reduce in (jnp.mean, jnp.max, jnp.min)]
        return value_loss + q_loss, IQLMetrics(value_loss + q_loss, value_loss, q_loss, *ranges)
