"""The quantile critic (IQN), which represents the distribution of returns by its quantile function."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.critics.level_loss import ExpectileLoss, HuberQuantileLoss
from floqzoo.critics.quantile_ensemble import QuantileEnsemble
from floqzoo.critics.td_targets import MeanOverEnsemble
from floqzoo.flow.time_distribution import UniformTime
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.protocols import Aggregation, TimeDistribution, require_protocol
from floqzoo.records import FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class QuantileMetrics(eqx.Module):
    """The metrics of a `QuantileCritic` on a batch.

    - `critic_loss`: The quantile loss, summed over levels and averaged over target levels, members and batch.
    - `q_mean`, `q_max`, `q_min`: Mean, maximum and minimum of Q over batch and members. Q is estimated by the mean of
      the quantiles at the drawn levels.
    - `return_std`: The standard deviation of the quantiles at the drawn levels, averaged over batch and members.
    """

    critic_loss: Scalar
    q_mean: Scalar
    q_max: Scalar
    q_min: Scalar
    return_std: Scalar


class QuantileCritic(eqx.Module):
    r"""A critic that learns the quantile function of the return, $Z_e(s, a, \tau)$, with $Q = \int_0^1 Z \, d\tau$.

    For an ensemble of $E$ members and a batch of $B$ transitions, the loss is

    $$\frac1{EB} \sum_{e,b} \sum_{i=1}^n \frac1{n'} \sum_{j=1}^{n'}
    \rho_{\tau_i} \bigl( y_j - Z_e(s, a, \tau_i) \bigr), \qquad
    y_j = r + \gamma \, \text{discount} \cdot \operatorname{agg}_e \bar Z_e(s', a', \tau'_j), \quad a' \sim \pi(s'),$$

    where the levels $\tau_i$ and $\tau'_j$ are drawn separately for each transition. The score is deterministic: it is
    the mean of the quantiles over the members and the $n$ fixed levels $(i - \frac12) / n$.

    - `networks`: The ensemble of quantile functions $Z_1, \dots, Z_E$.
    - `discount`: $\gamma$ in [0, 1). In the equation, $\text{discount}$ is the transition's own discount, which is 0
      for a terminal transition.
    - `loss`: The loss $\rho$, a `HuberQuantileLoss` (IQN) or an `ExpectileLoss` (floq's FQL-IQN).
    - `num_levels`: The number $n$ of levels at which the critic is trained, at least 1.
    - `num_target_levels`: The number $n'$ of levels in the target, at least 1.
    - `aggregation`: How the quantiles of the members are aggregated in the target, for each level.
    - `levels`: The distribution of the levels $\tau_i$ and $\tau'_j$.

    **Raises** `ValueError` if `discount` or a number of levels is out of range.

    Source: IQN (arXiv 1806.06923), section 3, with the same sums and means as in the official code of Value Flows
    (arXiv 2510.07650).
    """

    networks: QuantileEnsemble
    discount: Hyperparameter = eqx.field(converter=hyperparameter, default=0.99)
    loss: HuberQuantileLoss | ExpectileLoss | Any = HuberQuantileLoss()
    num_levels: int = eqx.field(static=True, default=16)
    num_target_levels: int = eqx.field(static=True, default=16)
    aggregation: Aggregation | Any = MeanOverEnsemble()
    levels: TimeDistribution | Any = UniformTime()

    def __check_init__(self):
        require_protocol("aggregation", self.aggregation, Aggregation)
        require_protocol("levels", self.levels, TimeDistribution)
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")
        for name in ("num_levels", "num_target_levels"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1; got {getattr(self, name)}.")

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns Q(s, a), the mean of the quantiles over members and fixed levels."""
        midpoints = (jnp.arange(self.num_levels, dtype=jnp.result_type(observation)) + 0.5) / self.num_levels
        return jnp.mean(self.networks.quantiles(observation, action, midpoints))

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, QuantileMetrics]:
        """Returns the quantile loss on a batch, and the metrics.

        The loss is summed over levels and averaged over target levels, members and batch.
        """
        level_key, target_key = jax.random.split(key)
        td_targets = jax.lax.stop_gradient(self.targets_of(batch, agent, target_key))
        levels = self.levels.sample_times(level_key, (batch.reward.shape[0], self.num_levels))
        quantiles = self.networks.batch_quantiles(batch.observation, batch.action, levels)
        errors = td_targets[None, :, None, :] - quantiles[..., None]
        losses = self.loss.losses(errors, levels[None, :, :, None])
        loss = jnp.mean(batch.counted(jnp.sum(jnp.mean(losses, axis=3), axis=2)))
        q = jnp.mean(quantiles, axis=2)
        spread = jnp.mean(jnp.std(quantiles, axis=2))
        return loss, QuantileMetrics(loss, jnp.mean(q), jnp.max(q), jnp.min(q), spread)

    @update_step("targets")
    def targets_of(self, batch: Transition, agent: FrozenAgent, key: Key) -> Float[Array, "batch levels"]:
        """Returns the TD targets $y_j$ of each transition."""
        action_key, level_key = jax.random.split(key)
        size, target = batch.reward.shape[0], agent.target.critic
        next_action = jax.vmap(agent.act)(batch.next_observation, jax.random.split(action_key, size))
        levels = self.levels.sample_times(level_key, (size, self.num_target_levels))
        next_quantiles = target.networks.batch_quantiles(batch.next_observation, next_action, levels)
        continuation = target.discount.value * batch.discount
        return batch.reward[:, None] + continuation[:, None] * target.aggregation.aggregate(next_quantiles)
