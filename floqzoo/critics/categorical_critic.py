"""The categorical critic (C51), which learns the distribution of returns over fixed atoms."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float, Real

from floqzoo.critics.td_targets import MeanOverEnsemble
from floqzoo.critics.uniform_support import UniformSupport
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.networks.ensemble import Ensemble
from floqzoo.networks.input_parts import of_parts
from floqzoo.protocols import Aggregation, Network, require_protocol
from floqzoo.records import FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class CategoricalMetrics(eqx.Module):
    """The metrics of a `CategoricalCritic` on a batch.

    - `critic_loss`: The cross-entropy, averaged over members and batch.
    - `q_mean`, `q_max`, `q_min`: Mean, maximum and minimum of the expected return over batch and members.
    - `return_std`: The standard deviation of the return, averaged over batch and members.
    - `end_mass`: The total probability of the first and the last atom, averaged over batch and members. A large
      value means that the support is too narrow.
    """

    critic_loss: Scalar
    q_mean: Scalar
    q_max: Scalar
    q_min: Scalar
    return_std: Scalar
    end_mass: Scalar


class CategoricalCritic(eqx.Module):
    r"""A critic that learns the probabilities $p_e(s, a) = \operatorname{softmax} f_e(s, a)$ of $N$ fixed returns
    $z_1, \dots, z_N$, the atoms.

    Each of the $E$ members minimises the cross-entropy to the projected target distribution $m$. The loss on a batch of
    $B$ transitions is

    $$-\frac1{EB} \sum_{e,b} \sum_i m_i \log p_{e,i}(s, a), \qquad
    m = \Pi \Bigl( r + \gamma \, \text{discount} \cdot z, \ \frac1E \sum_e \bar p_e(s', a') \Bigr),
    \quad a' \sim \pi(s'),$$

    where $\Pi$ is the [projection][floqzoo.critics.UniformSupport.project] onto the atoms, and bars denote the target
    networks. The score aggregates the expected returns $\sum_i z_i \, p_{e,i}$ of the members.

    - `networks`: The ensemble $f_1, \dots, f_E$ of networks that map an observation and an action to
      `support.num_atoms` logits.
    - `support`: The atoms $z_1, \dots, z_N$.
    - `discount`: $\gamma$ in [0, 1). In the equation, $\text{discount}$ is the transition's own discount, which is 0
      for a terminal transition.
    - `aggregation`: How the members' expected returns are combined into the score. The target distribution is always
      the mixture of the members' distributions.

    Source: C51 (arXiv 1707.06887), with two members as in the official code of Value Flows (arXiv 2510.07650).
    """

    networks: Ensemble[Network]
    support: UniformSupport
    discount: Hyperparameter = eqx.field(converter=hyperparameter, default=0.99)
    aggregation: Aggregation | Any = MeanOverEnsemble()

    def __check_init__(self):
        require_protocol("aggregation", self.aggregation, Aggregation)
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns the expected return, aggregated over members."""
        probabilities = jax.nn.softmax(self.batch_logits(observation[None], action[None])[:, 0])
        return self.aggregation.aggregate(probabilities @ self.support.atoms)

    def batch_logits(
        self, observations: Real[Array, "batch observation"], actions: Float[Array, "batch action"]
    ) -> Float[Array, "members batch atoms"]:
        """Returns the logits of each member for each (s, a) pair of a batch."""
        return self.networks.each(lambda network: jax.vmap(partial(of_parts, network))(observations, actions))

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, CategoricalMetrics]:
        """Returns the cross-entropy to the projected target, averaged over members and batch, and the metrics."""
        td_target = jax.lax.stop_gradient(self.targets_of(batch, agent, key))
        log_probs = jax.nn.log_softmax(self.batch_logits(batch.observation, batch.action))
        loss = -jnp.mean(batch.counted(jnp.sum(td_target[None] * log_probs, axis=2)))

        atoms, probabilities = self.support.atoms, jnp.exp(log_probs)
        q = probabilities @ atoms
        variance = jnp.sum(probabilities * (atoms[None, None] - q[..., None]) ** 2, axis=2)
        end_mass = jnp.mean(probabilities[..., 0] + probabilities[..., -1])
        metrics = CategoricalMetrics(loss, jnp.mean(q), jnp.max(q), jnp.min(q), jnp.mean(jnp.sqrt(variance)), end_mass)
        return loss, metrics

    @update_step("targets")
    def targets_of(self, batch: Transition, agent: FrozenAgent, key: Key) -> Float[Array, "batch atoms"]:
        """Returns the projected target distribution $m$ of each transition."""
        target = agent.target.critic
        next_action = jax.vmap(agent.act)(batch.next_observation, jax.random.split(key, batch.reward.shape[0]))
        next_logits = target.batch_logits(batch.next_observation, next_action)
        weights = jnp.mean(jax.nn.softmax(next_logits), axis=0)
        continuation = target.discount.value * batch.discount
        points = batch.reward[:, None] + continuation[:, None] * target.support.atoms[None]
        return jax.vmap(target.support.project)(points, weights)
