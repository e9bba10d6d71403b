"""The standard critic, which maps an observation and an action to a value in one forward pass."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.critics.q_ensemble import QEnsemble
from floqzoo.critics.td_targets import MeanOverEnsemble
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.protocols import Aggregation, require_protocol
from floqzoo.records import FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class MonolithicMetrics(eqx.Module):
    """The metrics of a monolithic critic on a batch: the loss, and the mean, maximum and minimum of Q over batch and
    members."""

    critic_loss: Scalar
    q_mean: Scalar
    q_max: Scalar
    q_min: Scalar


class MonolithicCritic(eqx.Module):
    r"""A standard Q-function, trained to minimise the squared TD error.

    For an ensemble of $E$ Q-functions and a batch of $B$ transitions, the loss is

    $$\frac1{EB} \sum_{e,b} \bigl(Q_e(s, a) - y\bigr)^2, \qquad
    y = r + \gamma \, \text{discount} \cdot \operatorname{agg}_e \bar Q_e(s', a'), \quad a' \sim \pi(s')$$

    - `networks`: The ensemble of Q-functions $Q_1, \dots, Q_E$.
    - `discount`: $\gamma$ in [0, 1). In the equation, $\text{discount}$ is the transition's own discount, which is 0
      for a terminal transition.
    - `aggregation`: How the values of the members are aggregated in the target; the score is always their mean.

    Source: the critic of FQL (arXiv 2502.02538), official code.
    """

    networks: QEnsemble
    discount: Hyperparameter = eqx.field(converter=hyperparameter, default=0.99)
    aggregation: Aggregation | Any = MeanOverEnsemble()

    def __check_init__(self):
        require_protocol("aggregation", self.aggregation, Aggregation)
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns the mean of Q(s, a) over the members."""
        return self.networks.mean(observation, action)

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, MonolithicMetrics]:
        """Returns the squared TD error, averaged over batch and members, and the metrics.

        The loss of a padded action chunk counts as 0 in the average.
        """
        td_target = jax.lax.stop_gradient(self.targets_of(batch, agent, key))
        return squared_td_error(self.networks, batch, td_target)

    @update_step("targets")
    def targets_of(self, batch: Transition, agent: FrozenAgent, key: Key) -> Float[Array, " batch"]:
        """Returns the TD target $y$ of each transition."""
        target = agent.target.critic
        next_action = jax.vmap(agent.act)(batch.next_observation, jax.random.split(key, batch.reward.shape[0]))
        next_q = target.aggregation.aggregate(target.networks.batch_values(batch.next_observation, next_action))
        return batch.reward + target.discount.value * batch.discount * next_q


def squared_td_error(
    networks: QEnsemble, batch: Transition, td_target: Float[Array, " batch"]
) -> tuple[Scalar, MonolithicMetrics]:
    """Returns the squared TD error at the actions in the data, averaged over batch and members, and the metrics.

    The loss of a padded action chunk counts as 0 in the average.
    """
    q = networks.batch_values(batch.observation, batch.action)
    loss = jnp.mean(batch.counted((q - td_target[None, :]) ** 2))
    return loss, MonolithicMetrics(loss, jnp.mean(q), jnp.max(q), jnp.min(q))
