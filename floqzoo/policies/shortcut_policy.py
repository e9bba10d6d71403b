"""A flow policy that is conditioned on its step length, and trained to maximise Q while imitating the data."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.flow.fixed_step import Euler
from floqzoo.flow.flow import Flow
from floqzoo.flow.path import OptimalTransportPath
from floqzoo.flow.prior import GaussianPrior
from floqzoo.flow.step_counts import draw_grid_times, draw_step_count, require_power_of_two, solve_in_steps
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.networks.conditional_field import ConditionalField
from floqzoo.networks.mlp import MLP
from floqzoo.networks.time_embedding import RawTime
from floqzoo.policies.normalised_q import inverse_size
from floqzoo.protocols import (
    Critic,
    Network,
    NoisePrior,
    ProbabilityPath,
    ScoresInSteps,
    TimeEmbedding,
    VelocityField,
    require_protocol,
)
from floqzoo.records import FrozenAgent, StepCount, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Array, Code, Key, Observation, Point, Scalar, Time


class ShortcutMetrics(eqx.Module):
    """The metrics of a shortcut policy on a batch.

    - `actor_loss`: The weighted sum of the three losses.
    - `bc_flow_loss`: The flow-matching loss of the shortest steps.
    - `consistency_loss`: The squared distance between the velocity of one step and the mean velocity of two steps of
      half its length.
    - `q_loss`: Minus the mean score, divided by the mean absolute score.
    - `q`: The mean score of the policy's actions.
    """

    actor_loss: Scalar
    bc_flow_loss: Scalar
    consistency_loss: Scalar
    q_loss: Scalar
    q: Scalar


class ShortcutPolicy(eqx.Module):
    r"""A flow policy that can act in any number $k = 1, 2, 4, \dots, K$ of Euler steps, and is trained to maximise Q.

    The velocity $v_\theta(t, x \mid s, k)$ is conditioned on the length $1 / k$ of the steps. An action is
    $a = \operatorname{clip} x_k$, where $x_{i+1} = x_i + \frac1k v_\theta(\frac ik, x_i \mid s, k)$ and
    $x_0 \sim N(0, I)$. The loss is

    $$\begin{aligned}
    \lambda_F \, \mathbb E \tfrac1d \lVert v_\theta(t, x_t \mid s, K) - \dot x_t \rVert^2
    &+ \lambda_C \, \mathbb E \tfrac1d \lVert v_\theta(t, x_t \mid s, k) - \tfrac12 (\bar v_1 + \bar v_2) \rVert^2
    - \frac{\lambda_Q}{\overline{|Q|}} \, \mathbb E \, Q(s, a_k), \\
    \bar v_1 = \bar v(t, x_t \mid s, 2 k), &\qquad
    \bar v_2 = \bar v(t + \tfrac1{2k}, x_t + \tfrac1{2k} \bar v_1 \mid s, 2 k).
    \end{aligned}$$

    - The first term, the flow-matching loss, imitates the data. $t$ is uniform on
      $\{0, \frac1K, \dots, \frac{K-1}K\}$.
    - The second term, the self-consistency loss, trains one step to match two steps of half its length that are taken
      by the target policy, whose velocity is $\bar v$. The agent's `target_update` must therefore maintain a target
      policy. The batch is divided evenly among $k = \frac K2, \dots, 2, 1$; remaining examples get $k = 1$.
      $t$ is uniform on $\{0, \frac1k, \dots, \frac{k-1}k\}$.
    - The third term maximises the score of $a_k$, the policy's action in $k$ steps. One random $k$ is drawn for the
      whole batch, and the gradient passes through all $k$ steps. $\overline{|Q|}$ is the mean absolute score of the
      batch, treated as a constant.

    The fields are:

    - `field`: The velocity field $v_\theta$, conditioned on the observation and the embedded number of steps.
    - `dim`: The number $d$ of action coordinates, at least 1.
    - `num_steps`: The number of steps when acting, a power of two, at most `max_steps`; can be changed after training.
    - `max_steps`: The maximum number of steps $K$, a power of two, at least 2.
    - `max_value_steps`: The largest number of steps in the third term, a power of two, at most `max_steps`.
    - `step_embedding`: The embedding of $\log_2 k$. `FourierTime` is not suitable, because its features at integers are
      only 1 or -1.
    - `prior`, `path`: The noise prior, and the probability path on which the field is trained. The default path is a
      straight line that ends in a Gaussian with standard deviation 1e-5 around the data.
    - `flow_weight`, `consistency_weight`, `q_weight`: The weights $\lambda_F$, $\lambda_C$ and $\lambda_Q$, at least 0.
      `q_weight` must be tuned for each environment; SORL uses values from 10 to 500.

    **Raises** `TypeError` if a part does not satisfy its protocol, `ValueError` if a number is out of range.

    Source: SORL (arXiv 2505.22866), official code; shortcut models (arXiv 2410.12557).
    """

    field: VelocityField | Any
    dim: int = eqx.field(static=True)
    num_steps: int = eqx.field(static=True, default=8)
    max_steps: int = eqx.field(static=True, default=8)
    max_value_steps: int = eqx.field(static=True, default=8)
    step_embedding: TimeEmbedding | Any = RawTime()
    prior: NoisePrior | Any = eqx.field(default_factory=GaussianPrior)
    path: ProbabilityPath | Any = eqx.field(default_factory=lambda: OptimalTransportPath(1e-5))
    flow_weight: Hyperparameter = eqx.field(converter=hyperparameter, default=10.0)
    consistency_weight: Hyperparameter = eqx.field(converter=hyperparameter, default=10.0)
    q_weight: Hyperparameter = eqx.field(converter=hyperparameter, default=100.0)

    def __check_init__(self):
        require_protocol("step_embedding", self.step_embedding, TimeEmbedding)
        _ = self.flow  # checks its parts
        require_power_of_two("max_steps", self.max_steps, least=2)
        for name in ("num_steps", "max_value_steps"):
            require_power_of_two(name, getattr(self, name))
            if getattr(self, name) > self.max_steps:
                raise ValueError(f"`{name}` must be at most `max_steps`, {self.max_steps}; got {getattr(self, name)}.")
        for name in ("flow_weight", "consistency_weight", "q_weight"):
            require(name, getattr(self, name), lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")

    @staticmethod
    def build(
        observation_dim: int,
        action_dim: int,
        *,
        network: Callable[..., Network] = MLP,
        step_embedding: TimeEmbedding = RawTime(),
        key: Key,
        **numbers: Any,
    ) -> "ShortcutPolicy":
        """Builds a policy whose velocity field is a `ConditionalField`.

        - `observation_dim`, `action_dim`: The sizes of observations and actions, at least 1.
        - `network`: A function that builds the network; it is called as `network(in_features, out_features, key=key)`.
        - `step_embedding`: The embedding of $\\log_2 k$.
        - `numbers`: Other arguments of the class, such as the numbers of steps and the weights of the loss.
        """
        field = ConditionalField(action_dim, observation_dim + step_embedding.time_features, build=network, key=key)
        return ShortcutPolicy(field, action_dim, step_embedding=step_embedding, **numbers)

    @property
    def flow(self) -> Flow:
        """The flow over actions, with `num_steps` Euler steps."""
        return Flow(self.field, self.dim, self.prior, self.path, Euler(self.num_steps))

    @property
    def draws_once_per_batch(self) -> bool:
        """Whether the loss draws a random number of steps that is shared by the whole batch."""
        return self.max_value_steps > 1

    def act(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Draws an action in `num_steps` steps; the critic is not used."""
        return self.act_from_noise(observation, critic, self.draw_noise(key))

    def act_in_steps(self, observation: Observation, critic: Critic | None, key: Key, steps: StepCount) -> Action:
        """Draws an action in a given number of steps; the critic is not used."""
        del critic
        return self.act_from(observation, self.draw_noise(key), steps)

    @property
    def noise_prior(self) -> NoisePrior:
        """The noise prior of the flow over actions."""
        return self.prior

    def draw_noise(self, key: Key) -> Point:
        """Draws a noise sample from the prior."""
        return self.prior.sample(key, (self.dim,))

    def act_from_noise(self, observation: Observation, critic: Critic | None, noise: Point) -> Action:
        """Returns the action in `num_steps` steps for a given noise sample; the critic is not used."""
        del critic
        return self.act_from(observation, noise, StepCount.known(self.num_steps))

    def act_from(self, observation: Observation, noise: Point, steps: StepCount) -> Action:
        """Returns the action in a given number of steps for a given noise sample.

        **Raises** `ValueError` if `steps.at_most` is above `max_steps`.
        """
        if steps.at_most > self.max_steps:
            raise ValueError(f"`steps` must be at most `max_steps`, {self.max_steps}; got up to {steps.at_most}.")
        code = self.code_of(observation, steps.value)
        return jnp.clip(solve_in_steps(lambda t, x: self.field.velocity(t, x, code), noise, steps), -1, 1)

    def code_of(self, observation: Observation, num_steps: int | Array) -> Code:
        """Encodes an observation and a number of steps for the velocity field."""
        if isinstance(num_steps, int):
            exponent = jnp.asarray(np.log2(num_steps), jnp.result_type(observation))
        else:
            exponent = jnp.round(jnp.log2(jnp.asarray(num_steps, jnp.result_type(observation))))
        return self.field.encode(observation, self.step_embedding.embed_time(exponent))

    def velocity_of_one(self, t: Time, x: Point, observation: Observation, num_steps: int | Array) -> Point:
        """Returns the velocity at time `t` and point `x` for a step of length 1 / `num_steps`."""
        return self.field.velocity(t, x, self.code_of(observation, num_steps))

    def velocity_of_two(self, t: Time, x: Point, observation: Observation, num_steps: Scalar) -> Point:
        """Returns the mean velocity of two steps of length 1 / (2 `num_steps`), starting at time `t` and point `x`."""
        code, half = self.code_of(observation, 2 * num_steps), 1 / (2 * num_steps)
        first = self.field.velocity(t, x, code)
        return (first + self.field.velocity(t + half, x + half * first, code)) / 2

    def consistency_counts(self, size: int) -> Float[np.ndarray, " batch"]:
        r"""Returns the number of steps $k$ for each example in the self-consistency loss, from $\frac K2$ down to 1.

        - `size`: The batch size.
        """
        counts = 2 ** np.arange(self.max_steps.bit_length() - 1)[::-1]
        share = size // len(counts)
        return np.concatenate([np.repeat(counts, share), np.ones(size - share * len(counts))]).astype(np.float64)

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, ShortcutMetrics]:
        """Returns the weighted sum of the three terms, each averaged over the batch, and the metrics.

        Padded steps of an action chunk count as 0 in the first two terms.
        """
        flow_key, consistency_key, q_key = jax.random.split(key, 3)
        bc_flow_loss = self.flow_loss(batch, flow_key)
        consistency_loss = self.consistency_loss(batch, agent, consistency_key)
        q_loss, q = self.q_loss(batch, agent, q_key)
        loss = (
            self.flow_weight.value * bc_flow_loss
            + self.consistency_weight.value * consistency_loss
            + self.q_weight.value * q_loss
        )
        return loss, ShortcutMetrics(loss, bc_flow_loss, consistency_loss, q_loss, q)

    @update_step("flow_matching")
    def flow_loss(self, batch: Transition, key: Key) -> Scalar:
        """Returns the flow-matching loss of the shortest steps, averaged over batch and coordinates."""
        noise_key, time_key = jax.random.split(key)
        noise = self.prior.sample(noise_key, batch.action.shape)
        times = draw_grid_times(
            time_key, jnp.full(batch.action.shape[:1], self.max_steps, jnp.result_type(batch.action))
        )

        def of_example(observation, action, x0, t, weights):
            return self.flow.matching_loss(t, x0, action, self.code_of(observation, self.max_steps), weights)

        return jnp.mean(jax.vmap(of_example)(batch.observation, batch.action, noise, times, batch.action_weights))

    @update_step("self_consistency")
    def consistency_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> Scalar:
        """Returns the self-consistency loss, averaged over batch and coordinates.

        **Raises** `AttributeError` if the agent has no target policy.
        """
        noise_key, time_key = jax.random.split(key)
        noise = self.prior.sample(noise_key, batch.action.shape)
        counts = jnp.asarray(self.consistency_counts(len(batch.action)), jnp.result_type(batch.action))
        times = draw_grid_times(time_key, counts)
        target = agent.target.policy

        def of_example(observation, action, x0, t, num_steps, weights):
            x = self.path.at(t, x0, action).x
            error = self.velocity_of_one(t, x, observation, num_steps) - target.velocity_of_two(
                t, x, observation, num_steps
            )
            return jnp.mean(error**2 if weights is None else weights * error**2)

        examples = (batch.observation, batch.action, noise, times, counts, batch.action_weights)
        return jnp.mean(jax.vmap(of_example)(*examples))

    @update_step("q")
    def q_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Scalar]:
        """Returns the Q loss and the mean score; the loss is minus the mean score, divided by the mean absolute score.

        A critic that satisfies [`ScoresInSteps`][floqzoo.protocols.ScoresInSteps] scores the actions for the number of
        steps in which they were computed.
        """
        steps_key, noise_key = jax.random.split(key)
        steps = draw_step_count(steps_key, self.max_value_steps)
        noise = self.prior.sample(noise_key, batch.action.shape)

        def of_example(observation, x0):
            action = self.act_from(observation, x0, steps)
            if isinstance(agent.critic, ScoresInSteps):
                return agent.critic.score_in_steps(observation, action, steps)
            return agent.critic.score(observation, action)

        q = jax.vmap(of_example)(batch.observation, noise)
        return -jnp.mean(q) * inverse_size(q), jnp.mean(q)
