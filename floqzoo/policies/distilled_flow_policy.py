"""FQL's policy: a one-step policy that is distilled from a behaviour flow and trained to maximise Q."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.hyperparameter import Hyperparameter, Number, frozen, hyperparameter, require
from floqzoo.networks.input_parts import of_parts
from floqzoo.networks.mlp import MLP
from floqzoo.networks.precision import with_cast_weights
from floqzoo.policies.behaviour_flow import BehaviourFlow
from floqzoo.policies.normalised_q import inverse_size
from floqzoo.protocols import Critic, Network, NoisePrior, require_protocol
from floqzoo.records import FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Key, Observation, Point, Scalar


class DistilledMetrics(eqx.Module):
    """The metrics of a distilled flow policy on a batch.

    - `actor_loss`: `bc_flow_loss` + alpha * `distill_loss` + `q_loss`.
    - `bc_flow_loss`: The behaviour flow's velocity error.
    - `distill_loss`: The squared distance between the one-step action and the flow's action for the same noise sample,
      averaged over coordinates.
    - `q_loss`: Minus the mean score; if `normalise_q` is set, divided by the mean absolute score.
    - `q`: The mean score of the one-step actions.
    - `mse`: The squared distance between the one-step actions and the data's actions, averaged over coordinates.
    """

    actor_loss: Scalar
    bc_flow_loss: Scalar
    distill_loss: Scalar
    q_loss: Scalar
    q: Scalar
    mse: Scalar


class DistilledFlowPolicy(eqx.Module):
    r"""A one-step policy $\mu(s, x_0)$, trained to imitate a behaviour flow and to maximise a critic's score.

    The loss is

    $$\mathcal L_{\text{flow}} + \alpha \, \mathbb E \tfrac1d \lVert \mu(s, x_0) - \bar\psi_1(x_0 \mid s) \rVert^2
    - \lambda \, \mathbb E \, Q(s, \operatorname{clip} \mu(s, x_0))$$

    where $\mathcal L_{\text{flow}}$ is the loss of the behaviour flow, and $\bar\psi_1(x_0 \mid s)$ its clipped action
    for the noise sample $x_0$, without gradient. $\lambda$ is 1; if `normalise_q` is set, it is $1 / \overline{|Q|}$,
    the inverse mean absolute score of the batch, without gradient.

    - `behaviour`: The behaviour flow, which is trained only on the data.
    - `network`: The network $\mu$, which maps an observation and a noise sample to the action before clipping.
    - `alpha`: The weight $\alpha$ of the distillation, at least 0; the main hyperparameter to tune for each
      environment.
    - `normalise_q`: Whether the score is divided by its mean absolute value. FQL recommends this for new environments,
      with alpha in [0.03, 10].

    Source: FQL (arXiv 2502.02538), equations 5 to 8, and its official code.
    """

    behaviour: BehaviourFlow
    network: Network | Any
    alpha: Hyperparameter = eqx.field(converter=hyperparameter, default=10.0)
    normalise_q: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        require_protocol("network", self.network, Network)
        require("alpha", self.alpha, lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")

    @staticmethod
    def build(
        observation_dim: int,
        action_dim: int,
        *,
        network: Callable[..., Network] = MLP,
        flow_steps: int = 10,
        alpha: Number = 10.0,
        normalise_q: bool = False,
        key: Key,
    ) -> "DistilledFlowPolicy":
        """Builds FQL's policy; `network` builds the networks of both the behaviour flow and the one-step policy.

        For the other arguments, see `BehaviourFlow.build` and the fields of this class.
        """
        behaviour_key, network_key = jax.random.split(key)
        behaviour = BehaviourFlow.build(
            observation_dim, action_dim, network=network, flow_steps=flow_steps, key=behaviour_key
        )
        one_step = network(observation_dim + action_dim, action_dim, key=network_key)
        return DistilledFlowPolicy(behaviour, one_step, alpha, normalise_q)

    def act(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Draws an action in one step; the critic is not used."""
        return self.act_from_noise(observation, critic, self.draw_noise(key))

    @property
    def noise_prior(self) -> NoisePrior:
        """The noise prior of the behaviour flow."""
        return self.behaviour.noise_prior

    def draw_noise(self, key: Key) -> Point:
        """Draws a noise sample from the behaviour flow's prior."""
        return self.behaviour.draw_noise(key)

    def act_from_noise(self, observation: Observation, critic: Critic | None, noise: Point) -> Action:
        """Returns the action for a given noise sample; the critic is not used."""
        del critic
        return jnp.clip(self.act_from(observation, noise), -1, 1)

    def act_from(self, observation: Observation, noise: Point) -> Point:
        """Returns the action for a given noise sample, before clipping."""
        return of_parts(self.network, observation, noise)

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, DistilledMetrics]:
        """Returns the sum of the three terms, each averaged over the batch, and the metrics."""
        behaviour_key, noise_key = jax.random.split(key)
        bc_flow_loss, _ = self.behaviour.policy_loss(batch, agent, behaviour_key)

        noise = self.behaviour.flow.prior.sample(noise_key, batch.action.shape)
        with update_step("behaviour_integration"):
            flow_action = jax.vmap(with_cast_weights(frozen(self.behaviour)).act_from)(batch.observation, noise)
        with update_step("distillation"):
            action = jax.vmap(self.act_from)(batch.observation, noise)
            distill_loss = jnp.mean((action - flow_action) ** 2)

        clipped = jnp.clip(action, -1, 1)
        with update_step("q"):
            q = jax.vmap(agent.critic.score)(batch.observation, clipped)
            scale = inverse_size(q) if self.normalise_q else 1.0
            q_loss = -scale * jnp.mean(q)

        loss = bc_flow_loss + self.alpha.value * distill_loss + q_loss
        mse = jnp.mean((clipped - batch.action) ** 2)
        return loss, DistilledMetrics(loss, bc_flow_loss, distill_loss, q_loss, jnp.mean(q), mse)
