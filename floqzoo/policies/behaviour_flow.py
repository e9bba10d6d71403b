"""Behaviour cloning by flow matching."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from floqzoo.flow.divergence import HutchinsonDivergence
from floqzoo.flow.fixed_step import Euler
from floqzoo.flow.flow import Flow
from floqzoo.flow.time_distribution import UniformTime
from floqzoo.networks.conditional_field import ConditionalField
from floqzoo.networks.mlp import MLP
from floqzoo.protocols import Critic, Network, NoisePrior, TimeDistribution, require_protocol
from floqzoo.records import ActionDraw, FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Key, Observation, Point, Scalar


class BehaviourMetrics(eqx.Module):
    """The metrics of a behaviour flow on a batch."""

    actor_loss: Scalar
    bc_flow_loss: Scalar


class BehaviourFlow(eqx.Module):
    r"""A flow over actions, conditioned on the observation and trained by flow matching to imitate the data.

    For the linear path, the loss is

    $$\mathbb E_{t, x_0} \tfrac1d \lVert v_\theta(t, x_t \mid s) - (a - x_0) \rVert^2,
    \qquad x_t = (1 - t) x_0 + t a, \quad x_0 \sim N(0, I).$$

    To act, the flow transports a noise sample to an action, which is clipped to [-1, 1].

    - `flow`: The flow over actions. FQL uses a Gaussian prior, the linear path and 10 Euler steps.
    - `times`: The distribution of the times $t$ in the loss.

    Source: FQL (arXiv 2502.02538), equation 5, and its official code.
    """

    flow: Flow
    times: TimeDistribution | Any = UniformTime()

    def __check_init__(self):
        require_protocol("times", self.times, TimeDistribution)

    @staticmethod
    def build(
        observation_dim: int,
        action_dim: int,
        *,
        network: Callable[..., Network] = MLP,
        flow_steps: int = 10,
        key: Key,
    ) -> "BehaviourFlow":
        """Builds FQL's behaviour flow, with a Gaussian prior, the linear path and Euler steps.

        - `observation_dim`, `action_dim`: The sizes of observations and actions, at least 1.
        - `network`: A function that builds the network; it is called as `network(in_features, out_features, key=key)`.
        - `flow_steps`: The number of Euler steps, at least 1.
        """
        field = ConditionalField(action_dim, observation_dim, build=network, key=key)
        return BehaviourFlow(Flow(field, action_dim, solver=Euler(flow_steps)))

    def act(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Draws an action from the flow; the critic is not used."""
        return self.act_from_noise(observation, critic, self.draw_noise(key))

    @property
    def noise_prior(self) -> NoisePrior:
        """The noise prior of the flow."""
        return self.flow.prior

    def draw_noise(self, key: Key) -> Point:
        """Draws a noise sample from the flow's prior."""
        return self.flow.prior.sample(key, (self.flow.dim,))

    def act_from_noise(self, observation: Observation, critic: Critic | None, noise: Point) -> Action:
        """Returns the action for a given noise sample; the critic is not used."""
        del critic
        return self.act_from(observation, noise)

    def act_from(self, observation: Observation, noise: Point) -> Action:
        """Returns the action for a given noise sample."""
        return jnp.clip(self.flow.push_forward(noise, self.flow.encode(observation)), -1, 1)

    def act_with_log_prob(self, observation: Observation, key: Key) -> ActionDraw:
        """Draws an action and estimates its log-density.

        The log-density is Hutchinson's estimate for the flow's output before clipping.
        """
        noise_key, divergence_key = jax.random.split(key)
        draw = self.flow.push_forward_with_log_prob(
            self.flow.prior.sample(noise_key, (self.flow.dim,)),
            self.flow.encode(observation),
            divergence=HutchinsonDivergence(),
            key=divergence_key,
        )
        return ActionDraw(jnp.clip(draw.x, -1, 1), draw.log_prob)

    @update_step("flow_matching")
    def policy_loss(self, batch: Transition, agent: FrozenAgent | None, key: Key) -> tuple[Scalar, BehaviourMetrics]:
        """Returns the flow-matching loss and its metrics; the agent is not used.

        The loss is averaged over the batch and the action coordinates. Padded steps of an action chunk count as 0 in
        the mean.
        """
        del agent
        noise_key, time_key = jax.random.split(key)
        noise = self.flow.prior.sample(noise_key, batch.action.shape)
        times = self.times.sample_times(time_key, batch.action.shape[:1])

        def of_example(observation, action, noise, t, weights):
            return self.flow.matching_loss(t, noise, action, self.flow.encode(observation), weights)

        losses = jax.vmap(of_example)(batch.observation, batch.action, noise, times, batch.action_weights)
        loss = jnp.mean(losses)
        return loss, BehaviourMetrics(loss, loss)
