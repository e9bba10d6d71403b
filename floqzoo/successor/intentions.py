"""Successor measures of the policies that collected a dataset, each identified by an inferred intention."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.protocols import Network
from floqzoo.records import FrozenAgent, FutureKind, Transition
from floqzoo.scopes import update_step
from floqzoo.successor.flow_successor import FlowSuccessor
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class Intention(eqx.Module):
    r"""A diagonal Gaussian over intentions, $N(\mu, \operatorname{diag} \sigma^2)$.

    - `mean`, `log_std`: The vectors $\mu$ and $\log \sigma$.
    """

    mean: Float[Array, " latent"]
    log_std: Float[Array, " latent"]

    def at(self, noise: Float[Array, " latent"]) -> Float[Array, " latent"]:
        r"""Returns the intention $\mu + \sigma \epsilon$ for a noise sample $\epsilon$; gradients pass through it."""
        return self.mean + jnp.exp(self.log_std) * noise

    @property
    def divergence(self) -> Scalar:
        r"""The KL divergence from $N(0, I)$, averaged over coordinates: $\frac1d D_{\text{KL}}$."""
        return 0.5 * jnp.mean(self.mean**2 + jnp.exp(2 * self.log_std) - 1 - 2 * self.log_std)


class IntentionEncoder(eqx.Module):
    r"""The encoder $q(z \mid s', a')$, which infers the intention of the policy that took the action $a'$ at $s'$.

    - `network`: Maps the concatenation of $s'$ and $a'$ to the concatenation of $\mu$ and $\log \sigma$.
    - `latent_dim`: The number $d$ of coordinates of z, at least 1.

    **Raises** `ValueError` if `latent_dim` is below 1.

    Source: InFOM (arXiv 2506.08902).
    """

    network: Network
    latent_dim: int = eqx.field(static=True)

    def __check_init__(self):
        if self.latent_dim < 1:
            raise ValueError(f"`latent_dim` must be at least 1; got {self.latent_dim}.")

    def infer(self, next_observation: Observation, next_action: Action) -> Intention:
        """Returns the distribution of z, given the next observation and the next action."""
        output = self.network(jnp.concatenate([next_observation, next_action]))
        return Intention(output[: self.latent_dim], output[self.latent_dim :])

    def prior(self, key: Key) -> Float[Array, " latent"]:
        """Draws an intention z from the prior N(0, I)."""
        return jax.random.normal(key, (self.latent_dim,))


class IntentionMetrics(eqx.Module):
    r"""The metrics of an `IntentionSuccessor` on a batch.

    - `loss`: `flow_loss` + the weighted `kl`.
    - `flow_loss`: $(1 - \gamma)$ `one_step_loss` + $\gamma$ `bootstrap_loss`.
    - `one_step_loss`, `bootstrap_loss`: The velocity errors of [`FlowSuccessor`][floqzoo.successor.FlowSuccessor].
    - `kl`: The KL divergence of the inferred intentions from the prior, averaged over coordinates and batch.
    """

    loss: Scalar
    flow_loss: Scalar
    one_step_loss: Scalar
    bootstrap_loss: Scalar
    kl: Scalar


class IntentionSuccessor(eqx.Module):
    r"""The successor measures $m(\cdot \mid s, a, z)$ of the policies that collected a dataset.

    Each policy is identified by an intention z. The encoder infers the intention behind a transition from the next
    state and action, $z \sim q(z \mid s', a')$. The measure and the encoder are trained to minimise
    the negative evidence lower bound

    $$(1 - \gamma) \tfrac1d \lVert v(t, x_t \mid s, a, z) - \dot x_t \rVert^2
    + \gamma \tfrac1d \lVert v(t, \hat x_t \mid s, a, \text{sg}(z)) - \hat u_t \rVert^2
    + \lambda \, \tfrac1{d_z} D_{\text{KL}}\bigl( q(z \mid s', a') \,\big\|\, N(0, I) \bigr),$$

    where the first two terms are those of [`FlowSuccessor`][floqzoo.successor.FlowSuccessor], and $\text{sg}$ denotes a
    stopped gradient. The target flow at $(s', a')$ takes the same z. The gradient of the second term only
    reaches the encoder if the measure's `bootstrap_trains_conditions` is True; $\text{sg}$ is then omitted.

    - `measure`: A [`FlowSuccessor`][floqzoo.successor.FlowSuccessor] of the behaviour policy, whose flow is conditioned
      on s, a and z.
    - `encoder`: The encoder $q$.
    - `kl_weight`: The weight $\lambda$ of the KL divergence, at least 0. If $\lambda$ is too small, z, which is
      inferred from $(s', a')$, can encode the action $a$, so the measure depends too little on $a$ itself.

    The batch must contain `next_action`.

    **Raises** `ValueError` if the weight is negative or not finite.

    Source: InFOM (arXiv 2506.08902).
    """

    measure: FlowSuccessor
    encoder: IntentionEncoder
    kl_weight: Hyperparameter = eqx.field(converter=hyperparameter, default=0.05)

    def __check_init__(self):
        require("kl_weight", self.kl_weight, lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")

    @property
    def discount(self) -> Hyperparameter:
        """The discount of the measure."""
        return self.measure.discount

    @property
    def future_kind(self) -> FutureKind:
        """The kind of the futures."""
        return self.measure.future_kind

    def sample_futures(
        self, observation: Observation, action: Action, count: int, key: Key
    ) -> Float[Array, "count observation"]:
        """Draws `count` future observations of one policy, whose z is drawn from the prior."""
        latent_key, futures_key = jax.random.split(key)
        return self.measure.sample_futures(observation, action, count, futures_key, self.encoder.prior(latent_key))

    def successor_loss(
        self, batch: Transition, target: "IntentionSuccessor", agent: FrozenAgent, key: Key
    ) -> tuple[Scalar, IntentionMetrics]:
        """Returns the negative evidence lower bound, averaged over the batch, and the metrics. Rewards are not used.

        **Raises** `ValueError` if the batch has no next actions.
        """
        latent_key, flow_key = jax.random.split(key)
        with update_step("intentions"):
            next_observation = jax.vmap(self.measure.normaliser.normalise)(batch.next_observation)
            found = jax.vmap(self.encoder.infer)(next_observation, batch.require("next_action", "IntentionSuccessor"))
            z = jax.vmap(Intention.at)(found, jax.random.normal(latent_key, found.mean.shape))
        flow_loss, metrics = self.measure.successor_loss(batch, target.measure, agent, flow_key, z)
        kl = jnp.mean(jax.vmap(lambda intention: intention.divergence)(found))
        loss = flow_loss + self.kl_weight.value * kl
        return loss, IntentionMetrics(loss, flow_loss, metrics.one_step_loss, metrics.bootstrap_loss, kl)
