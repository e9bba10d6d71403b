"""The critic of soft actor-critic (SAC), which bootstraps from actions sampled from a policy with a density."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Float

from floqzoo.critics.monolithic_critic import MonolithicMetrics, squared_td_error
from floqzoo.critics.q_ensemble import QEnsemble
from floqzoo.critics.td_targets import MeanOverEnsemble, MinOverEnsemble
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.protocols import Aggregation, HasDensity, HasTemperature, require_protocol
from floqzoo.records import FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class SACCritic(eqx.Module):
    r"""A Q-function of a stochastic policy, trained to minimise the squared TD error.

    For an ensemble of $E$ Q-functions and a batch of $B$ transitions, the loss is

    $$\frac1{EB} \sum_{e,b} \bigl(Q_e(s, a) - y\bigr)^2, \qquad
    y = r + \gamma \, \text{discount} \bigl( \operatorname{agg}_e \bar Q_e(s', a')
    - \beta \log \pi(a' \mid s') \bigr), \quad a' \sim \pi(\cdot \mid s')$$

    The policy must have [a density][floqzoo.protocols.HasDensity]. Next actions are sampled from the policy, even if it
    acts with the mode of its distribution. $\beta$ is the temperature of the policy if `entropy_backup` is True, and 0
    otherwise.

    - `networks`: The ensemble of Q-functions $Q_1, \dots, Q_E$.
    - `discount`: $\gamma$ in [0, 1). In the equation, $\text{discount}$ is the transition's own discount, which is 0
      for a terminal transition.
    - `aggregation`: How the values of the members are aggregated in the target.
    - `score_aggregation`: How the values of the members are aggregated in the score, which the policy maximises. SAC's
      paper uses the minimum, and the official code of FQL uses the mean.
    - `entropy_backup`: Whether the target includes the entropy bonus, as in SAC's paper. Without the bonus, as in the
      official code of FQL, Q is the expected return. The bonus requires a policy that
      [has a temperature][floqzoo.protocols.HasTemperature], such as a
      [`TanhGaussianPolicy`][floqzoo.policies.TanhGaussianPolicy].

    Source: SAC (arXiv 1812.05905), equations 5 and 6, RLPD (arXiv 2302.02948), and the official code of FQL.
    """

    networks: QEnsemble
    discount: Hyperparameter = eqx.field(converter=hyperparameter, default=0.99)
    aggregation: Aggregation | Any = MinOverEnsemble()
    score_aggregation: Aggregation | Any = MeanOverEnsemble()
    entropy_backup: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        for name in ("aggregation", "score_aggregation"):
            require_protocol(name, getattr(self, name), Aggregation)
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns Q(s, a), aggregated over members."""
        return self.score_aggregation.aggregate(self.networks.values(observation, action))

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, MonolithicMetrics]:
        """Returns the squared TD error, averaged over batch and members, and the metrics.

        The loss of a padded action chunk counts as 0 in the average.

        **Raises** `TypeError` if the policy does not satisfy `HasDensity`, or `HasTemperature` although
        `entropy_backup` is True.
        """
        td_target = jax.lax.stop_gradient(self.targets_of(batch, agent, key))
        return squared_td_error(self.networks, batch, td_target)

    @update_step("targets")
    def targets_of(self, batch: Transition, agent: FrozenAgent, key: Key) -> Float[Array, " batch"]:
        """Returns the TD target $y$ of each transition."""
        require_protocol("agent.policy", agent.policy, HasDensity)
        keys = jax.random.split(key, batch.reward.shape[0])
        draws = jax.vmap(agent.policy.act_with_log_prob)(batch.next_observation, keys)
        networks = agent.target.critic.networks
        next_value = self.aggregation.aggregate(networks.batch_values(batch.next_observation, draws.action))
        if self.entropy_backup:
            require_protocol("agent.policy", agent.policy, HasTemperature)
            next_value = next_value - agent.policy.entropy_temperature * draws.log_prob
        return batch.reward + self.discount.value * batch.discount * next_value
