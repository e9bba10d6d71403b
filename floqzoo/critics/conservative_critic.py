"""A quantile critic with a conservative term, which lowers the estimated returns of actions outside the data."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.critics.quantile_critic import QuantileCritic
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.protocols import HasDensity, require_protocol
from floqzoo.records import ActorCritic, FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Array, Key, Metrics, Observation, Scalar


class ConservativeMetrics(eqx.Module):
    """The metrics of a `ConservativeCritic` on a batch.

    - `critic_loss`: `td.critic_loss` + weight * `conservative_loss`.
    - `conservative_loss`: The conservative term without its weight, averaged over members and batch.
    - `td`: The metrics of the wrapped critic.
    """

    critic_loss: Scalar
    conservative_loss: Scalar
    td: Metrics


class ConservativeCritic(eqx.Module):
    r"""A quantile critic with a conservative term in its loss.

    The term lowers the estimated returns of actions outside the data. For an ensemble of $E$ members and a batch of $B$
    transitions, it is

    $$\lambda \, \frac1{EB} \sum_{e,b} \Bigl( \log \sum_{k=1}^{2n}
    \exp \bigl( Z_e(s, a_k, \tau) - \log q(a_k \mid s) \bigr) - Z_e(s, a, \tau) \Bigr),$$

    where $Z_e$ is the quantile function of member $e$, and one level $\tau$ is drawn for each transition. Of the $2n$
    actions $a_k$, $n$ are drawn uniformly from $[-1, 1]^d$, so $\log q = -d \log 2$. The other $n$ are drawn from
    a policy with a density, and $\log q$ is the log-density of the action before clipping.

    If the agent's policy [has a density][floqzoo.protocols.HasDensity], these actions are drawn from it. Otherwise,
    they are drawn from its `behaviour`. For example, the one-step network of a `DistilledFlowPolicy` has no density, so
    the behaviour flow of that policy is used. In a `ChunkedPolicy`, the wrapped policy is used in the same way.

    - `critic`: The wrapped quantile critic.
    - `weight`: The weight $\lambda$ of the conservative term, at least 0.
    - `num_actions`: The number $n$ of uniform actions, and of actions from the policy, at least 1.

    **Raises** `ValueError` if a number is out of range.

    Source: CODAC (arXiv 2107.06106), equation 4, as in the official code of Value Flows (arXiv 2510.07650).
    """

    critic: QuantileCritic
    weight: Hyperparameter = eqx.field(converter=hyperparameter, default=0.1)
    num_actions: int = eqx.field(static=True, default=10)

    def __check_init__(self):
        require("weight", self.weight, lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")
        if self.num_actions < 1:
            raise ValueError(f"`num_actions` must be at least 1; got {self.num_actions}.")

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns the score of the wrapped critic."""
        return self.critic.score(observation, action)

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, ConservativeMetrics]:
        """Returns the loss of the wrapped critic plus the weighted conservative term, and the metrics.

        **Raises** `TypeError` if neither the agent's policy nor its `behaviour` has a density.
        """
        td_key, term_key = jax.random.split(key)
        target = ActorCritic(agent.target.critic.critic, agent.target.policy)
        inside = FrozenAgent(agent.critic.critic, agent.policy, target, agent.step)
        td_loss, td_metrics = self.critic.critic_loss(batch, inside, td_key)
        conservative_loss = self.conservative_loss(batch, agent, term_key)
        loss = td_loss + self.weight.value * conservative_loss
        return loss, ConservativeMetrics(loss, conservative_loss, td_metrics)

    @update_step("conservative_term")
    def conservative_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> Scalar:
        """Returns the conservative term without its weight, averaged over members and batch."""
        level_key, action_key = jax.random.split(key)
        size, count = batch.reward.shape[0], 2 * self.num_actions
        levels = self.critic.levels.sample_times(level_key, (size, 1))
        actions, log_probs = self._proposals(batch, agent, action_key)

        def repeated(rows: Float[Array, "batch size"]) -> Float[Array, "all size"]:
            return jnp.repeat(rows, count, axis=0)

        networks = self.critic.networks
        proposed = networks.batch_quantiles(
            repeated(batch.observation), actions.reshape(size * count, -1), repeated(levels)
        ).reshape(networks.networks.size, size, count)
        data = networks.batch_quantiles(batch.observation, batch.action, levels)[..., 0]
        return jnp.mean(batch.counted(jax.nn.logsumexp(proposed - log_probs[None], axis=2) - data))

    def _proposals(
        self, batch: Transition, agent: FrozenAgent, key: Key
    ) -> tuple[Float[Array, "batch proposals action"], Float[Array, "batch proposals"]]:
        """Uniform actions, then those of the policy, and the log-density of each."""
        inner = getattr(agent.policy, "policy", agent.policy)  # a `ChunkedPolicy` wraps the policy over its chunks
        policy = inner if isinstance(inner, HasDensity) else getattr(inner, "behaviour", inner)
        require_protocol("agent.policy", policy, HasDensity)
        uniform_key, policy_key = jax.random.split(key)
        (size, dim), count = batch.action.shape, self.num_actions
        uniform = jax.random.uniform(uniform_key, (size, count, dim), jnp.result_type(batch.action), -1, 1)
        keys = jax.random.split(policy_key, (size, count))
        draws = jax.vmap(jax.vmap(policy.act_with_log_prob, (None, 0)))(batch.observation, keys)
        uniform_log_prob = jnp.full((size, count), -dim * np.log(2), jnp.result_type(batch.action))
        return (
            jnp.concatenate([uniform, draws.action], axis=1),
            jnp.concatenate([uniform_log_prob, draws.log_prob], axis=1),
        )
