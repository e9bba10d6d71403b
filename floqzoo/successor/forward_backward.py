"""Forward-backward (FB) representations, which factorise the successor measures of many policies into two maps."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.critics.rebrac_critic import SmoothingNoise
from floqzoo.critics.td_targets import MeanOverEnsemble, MinOverEnsemble
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.networks.ensemble import Ensemble
from floqzoo.protocols import Aggregation
from floqzoo.records import FrozenAgent, FutureKind, Transition
from floqzoo.scopes import update_step
from floqzoo.successor.latents import LatentMixture, on_sphere
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class ForwardBackwardMetrics(eqx.Module):
    """The metrics of a `ForwardBackward` critic on a batch.

    - `critic_loss`: `measure_loss` + the weighted `orthonormality_loss`.
    - `measure_loss`: The loss of the measure, summed over members.
    - `orthonormality_loss`: The orthonormality loss. For z of dimension d, its minimum is -d / 2, which it attains if
      $\\mathbb E B B^\\top = I$.
    - `m_mean`: The density of the measures, averaged over pairs of different transitions; $1 / (1 - \\gamma)$ for exact
      measures without terminations.
    - `m_next`: The density of the measures at each transition's own next state, averaged over the batch.
    """

    critic_loss: Scalar
    measure_loss: Scalar
    orthonormality_loss: Scalar
    m_mean: Scalar
    m_next: Scalar


class ForwardBackward(eqx.Module):
    r"""Represents the successor measures of policies $\pi_z$ as products of a forward map $F$ and a backward map $B$.

    $$M^{\pi_z}(s, a, ds^+) = F(s, a, z)^\top B(s^+) \, \rho(ds^+)$$

    Here $\rho$ is the distribution of states in the data. The measure starts at the next state $s'$: it is $\sum_{k \ge
    0} \gamma^k \Pr(s_{k+1} \in \cdot)$, with a total mass of $1 / (1 - \gamma)$. It yields Q-values for any reward $r$
    without further training: with $w = \mathbb E_\rho [r B]$, the expected discounted return from the next state on,
    under the policy for $z = \sqrt d \, w / \lVert w \rVert$, is $Q(s, a) = F(s, a, z)^\top w$.

    $F$ is an ensemble with members $F_e$. For two transitions $i$ and $j$ of a batch, let
    $M_{ij} = F_e(s_i, a_i, z_i)^\top B(s'_j)$. The loss of member $e$ is

    $$\tfrac12 \, \mathbb E_{i \ne j} \bigl( M_{ij} - \gamma \, \text{discount}_i \bar M_{ij} \bigr)^2
    - \mathbb E_i M_{ii}, \qquad
    \bar M_{ij} = \operatorname{agg}_e \bar F_e(s'_i, a'_i, z_i)^\top \bar B(s'_j),$$

    where $a'_i$ is the action $\pi_{z_i}(s'_i)$ plus smoothing noise, $\text{discount}_i$ is the `discount` of
    transition $i$ (0 if the episode terminated), and bars denote the target network. The loss of the measure is
    the sum over members. It requires no rewards, and its gradient is the gradient of the squared Bellman error in the
    norm of $\rho$. The orthonormality loss

    $$\tfrac12 \, \mathbb E_{i \ne j} \bigl( B(s'_i)^\top B(s'_j) \bigr)^2 - \mathbb E_i \lVert B(s'_i) \rVert^2$$

    fixes the scales of $F$ and $B$, which their product does not determine. The values of $B$ lie on the sphere of
    radius $\sqrt d$.

    If the batch has n-step transitions, as an [`NStep`][floqzoo.learner.NStep] reader returns them, $s'$ is the state n
    steps later and $M$ counts every n-th state: it is $\sum_{k \ge 0} \gamma^{n k} \Pr(s_{(k+1) n} \in \cdot)$. As with
    n-step returns, the bias is that the actions in between are those of the data.

    - `forward`: An [`Ensemble`][floqzoo.networks.Ensemble]; each member maps two vectors, the concatenations
      $(s, z)$ and $(s, a)$, to $\mathbb R^d$, as an [`EmbeddingNetwork`][floqzoo.networks.EmbeddingNetwork] does.
    - `backward`: Maps a state to $\mathbb R^d$; its output is projected onto the sphere.
    - `reward_vector`: The vector $w \in \mathbb R^d$ of the task whose Q-values `score` returns. It may be 0 until
      `infer_task` sets it.
    - `discount`: $\gamma$ in [0, 1).
    - `orthonormality`: The weight of the orthonormality loss, at least 0.
    - `latents`: The distribution from which each z is drawn in training.
    - `noise`: The smoothing noise that is added to next actions.
    - `aggregation`: How the members are aggregated in `score`. The default is the minimum; for two members, it equals
      the mean minus half the absolute difference, as in the official code.
    - `target_aggregation`: How the members are aggregated in $\bar M$.

    The agent's policy must [act for any z][floqzoo.protocols.ActsForLatent], as a `LatentPolicy` does.

    **Raises** `ValueError` if a number is out of range.

    Source: Touati and Ollivier (arXiv 2103.07945); losses and constants as in the official code, metamotivo.
    """

    forward: Ensemble
    backward: Any
    reward_vector: Hyperparameter = eqx.field(converter=hyperparameter)
    discount: Hyperparameter = eqx.field(converter=hyperparameter, default=0.98)
    orthonormality: Hyperparameter = eqx.field(converter=hyperparameter, default=1.0)
    latents: LatentMixture | Any = LatentMixture()
    noise: SmoothingNoise = SmoothingNoise(0.2, 0.3)
    aggregation: Aggregation = MinOverEnsemble()
    target_aggregation: Aggregation = MeanOverEnsemble()

    def __check_init__(self):
        require("reward_vector", self.reward_vector, np.isfinite, "finite")
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")
        number = self.orthonormality
        require("orthonormality", number, lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")

    def represent(self, observation: Observation) -> Float[Array, " latent"]:
        """Returns B(s), a point on the sphere."""
        return on_sphere(self.backward(observation))

    def forwards(
        self,
        observations: Float[Array, "batch observation"],
        actions: Float[Array, "batch action"],
        latents: Float[Array, "batch latent"],
    ) -> Float[Array, "members batch latent"]:
        """Returns F(s, a, z) of each member for each row of a batch."""
        with_latent = jnp.concatenate([observations, latents], axis=1)
        with_action = jnp.concatenate([observations, actions], axis=1)
        return self.forward.each(lambda member: jax.vmap(member)(with_latent, with_action))

    def score_for(self, observation: Observation, action: Action, latent: Float[Array, " latent"]) -> Scalar:
        """Returns Q for the task z: F(s, a, z) · z, aggregated over members."""
        forward = self.forwards(observation[None], action[None], latent[None])[:, 0]
        return self.aggregation.aggregate(forward @ latent)

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns Q for the task of `reward_vector`, in units of reward; 0 if `reward_vector` is 0."""
        vector = jnp.asarray(self.reward_vector.value)
        latent = on_sphere(vector)
        size = jnp.sqrt(jnp.sum(vector**2) / vector.shape[0])
        return size * self.score_for(observation, action, latent)

    def densities(
        self, observation: Observation, action: Action, states: Float[Array, "states observation"]
    ) -> Float[Array, " states"]:
        r"""Returns the density of the successor measure, relative to $\rho$, at each of the given states.

        The measure is that of the policy for the task of `reward_vector`. At a state $s^+$, the density is
        $F(s, a, z)^\top B(s^+)$, averaged over members. It may be negative, because it is learnt.
        """
        latent = on_sphere(jnp.asarray(self.reward_vector.value))
        forward = jnp.mean(self.forwards(observation[None], action[None], latent[None])[:, 0], axis=0)
        return jax.vmap(self.represent)(states) @ forward

    @property
    def future_kind(self) -> FutureKind:
        """The kind of the futures: those of the agent's policy, from the next state on."""
        return FutureKind(self.discount)

    @property
    def reward(self) -> None:
        """None, because the rewards of a task are represented by `reward_vector`."""

    def predict_futures(
        self,
        observation: Observation,
        action: Action,
        states: Float[Array, "states observation"],
        count: int,
        key: Key,
    ) -> Float[Array, "count observation"]:
        """Draws `count` of the given states with replacement, with probabilities proportional to the positive part of
        their densities; returns NaN if no density is positive."""
        weights = jnp.maximum(self.densities(observation, action, states), 0)
        total = jnp.sum(weights)
        chosen = jax.random.choice(key, len(states), (count,), p=weights / jnp.where(total > 0, total, 1))
        return jnp.where(total > 0, states[chosen], jnp.nan)

    def sample_latents(self, observations: Float[Array, "batch observation"], key: Key) -> Float[Array, "batch latent"]:
        """Draws one z for each row of the batch from `latents`, the distribution used in training."""
        goals = jax.vmap(self.represent)(observations)
        return self.latents.latents(goals, self.latents.draws(len(goals), goals.shape[1], key))

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, ForwardBackwardMetrics]:
        """Returns the loss of the measure plus the weighted orthonormality loss, and the metrics. Rewards are not used.

        **Raises** `ValueError` if the batch has only one transition and thus no pairs.
        """
        size = batch.reward.shape[0]
        if size < 2:
            raise ValueError(f"the batch of a ForwardBackward critic must have at least 2 transitions; got {size}.")
        latent_key, noise_key = jax.random.split(key)
        with update_step("latents"):
            z = agent.critic.sample_latents(batch.next_observation, latent_key)
        with update_step("targets"):
            next_action = self.noise.add(jax.vmap(agent.policy.act_for)(batch.next_observation, z), noise_key)
            target = agent.target.critic
            next_goals = jax.vmap(target.represent)(batch.next_observation)
            next_m = target.forwards(batch.next_observation, next_action, z) @ next_goals.T
            bootstrap = self.target_aggregation.aggregate(next_m)
            bootstrap = jax.lax.stop_gradient(self.discount.value * batch.discount[:, None] * bootstrap)
        goals = jax.vmap(self.represent)(batch.next_observation)
        m = self.forwards(batch.observation, batch.action, z) @ goals.T
        others = 1 - jnp.eye(size, dtype=m.dtype)
        m_next = jnp.diagonal(m, axis1=1, axis2=2)
        rows = 0.5 * jnp.sum(others[None] * (m - bootstrap[None]) ** 2, axis=2) / (size - 1) - m_next
        measure_loss = jnp.sum(jnp.mean(rows, axis=1))
        products = goals @ goals.T
        orthonormality_loss = 0.5 * jnp.sum(others * products**2) / (size * (size - 1)) - jnp.trace(products) / size
        loss = measure_loss + self.orthonormality.value * orthonormality_loss
        m_mean = jnp.sum(others * jnp.mean(m, axis=0)) / (size * (size - 1))
        return loss, ForwardBackwardMetrics(loss, measure_loss, orthonormality_loss, m_mean, jnp.mean(m_next))
