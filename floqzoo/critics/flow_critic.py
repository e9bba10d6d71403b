"""floq's flow critic, which computes Q-values as the outputs of flows over the real line."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float, Real

from floqzoo.critics.flow_diagnostics import FlowDiagnostics, flow_diagnostics
from floqzoo.critics.q_ensemble import QEnsemble
from floqzoo.critics.td_targets import ExpectedBackup, IndependentNoise, MeanOverEnsemble
from floqzoo.flow.fixed_step import Euler
from floqzoo.flow.flow import Flow
from floqzoo.flow.path import LinearPath
from floqzoo.flow.time_distribution import UniformTime
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.networks.ensemble import Ensemble
from floqzoo.protocols import (
    Aggregation,
    Backup,
    NoiseCoupling,
    NoisePrior,
    ODESolver,
    ProbabilityPath,
    TimeDistribution,
    VelocityField,
    require_protocol,
)
from floqzoo.records import FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class FlowCriticMetrics(eqx.Module):
    """The metrics of a `FlowCritic` on a batch.

    - `critic_loss`: `flow_loss` + `distill_loss`.
    - `flow_loss`: The squared velocity error, summed over noise samples and averaged over members and batch.
    - `distill_loss`: The squared error of the distilled critic, averaged over members and batch.
    - `q_mean`, `q_max`, `q_min`: Mean, maximum and minimum of the distilled critic's output over batch and members.
    - `flow_q_mean`: The output of the flows, averaged over batch, members and the noise samples for distillation.
    - `q_noise_variance`: The variance of the flows' output over the noise samples for distillation, averaged over batch
      and members. It is 0 if there is only one such sample.
    """

    critic_loss: Scalar
    flow_loss: Scalar
    distill_loss: Scalar
    q_mean: Scalar
    q_max: Scalar
    q_min: Scalar
    flow_q_mean: Scalar
    q_noise_variance: Scalar


class FlowStarts(eqx.Module):
    """The inputs of the flows: each observation has several noise samples, and one action for each noise sample."""

    observation: Real[Array, "*members batch observation"]
    action: Float[Array, "*members batch samples action"]
    noise: Float[Array, "*members batch samples 1"]


class FlowCritic(eqx.Module):
    r"""Computes Q(s, a) as the output of a flow: $z_0 \sim p_0$, $\dot z_t = v_\theta(t, z_t \mid s, a)$, $Q = z_1$.

    Each of the $E$ velocity fields is trained to match the velocity of the path from noise to the TD target at every
    time. The loss on a batch of $B$ transitions is

    $$\frac1{EB} \sum_{e,b} \sum_{j=1}^m \bigl( v_e(t_j, z_{t_j} \mid s, a) - \dot z_{t_j} \bigr)^2, \qquad
    z_t = (1 - t) z_0 + t y_j, \quad \dot z_t = y_j - z_0,$$

    where each of the $m$ noise samples has its own time, next action and next noise. The targets are computed by
    integrating the target fields. With the expected backup, they are $y_j = r + \gamma \, \text{discount} \, \frac1m
    \sum_i \operatorname{agg}_e \bar z_1^{e}(s', a'_i, z'_i)$. A distilled critic learns by regression to predict the
    mean output of the online flows for the same noise samples. Its output is the score for policy improvement. No
    gradient passes through an integration.

    - `fields`: The ensemble of velocity fields $v_1, \dots, v_E$ over $\mathbb R$, conditioned on observation and
      action.
    - `distilled`: The distilled critic, an ensemble of Q-functions.
    - `prior`: The noise prior $p_0$; floq uses `UniformPrior.from_rewards(...)`.
    - `path`, `solver`: The probability path and the ODE solver. The defaults are those of floq: a linear path and 8
      Euler steps.
    - `discount`: $\gamma$ in [0, 1). In the equations, $\text{discount}$ is the transition's own discount, which is 0
      for a terminal transition.
    - `num_noise_samples`: The number $m$ of noise samples for each transition, at least 1. The loss is summed over
      them.
    - `num_distillation_samples`: The number of noise samples for which the online flows are integrated to train the
      distilled critic, from 1 to `num_noise_samples`; None for all, as in floq. If all are used, half of the
      integrations in the loss serve to train the distilled critic. With fewer samples, training is faster but noisier.
    - `aggregation`: How the outputs of the members are aggregated in the target, for each noise sample, before the
      backup.
    - `backup`: `ExpectedBackup()` (floq) or `DistributionalBackup()`.
    - `coupling`: How the noise $z'$ from which the target flows start is chosen: `IndependentNoise()` (floq) draws it
      independently of $z_0$, and `SharedNoise()` sets it equal to $z_0$.
    - `times`: The distribution of the times at which the field is trained.

    Source: floq (arXiv 2509.06863), section 4, and its official code, with the same sums and means in the losses.
    """

    fields: Ensemble[VelocityField]
    distilled: QEnsemble
    prior: NoisePrior | Any
    path: ProbabilityPath | Any = LinearPath()
    solver: ODESolver | Any = Euler(8)
    discount: Hyperparameter = eqx.field(converter=hyperparameter, default=0.99)
    num_noise_samples: int = eqx.field(static=True, default=8)
    num_distillation_samples: int | None = eqx.field(static=True, default=None)
    aggregation: Aggregation | Any = MeanOverEnsemble()
    backup: Backup | Any = ExpectedBackup()
    coupling: NoiseCoupling | Any = IndependentNoise()
    times: TimeDistribution | Any = UniformTime()

    def __check_init__(self):
        require_protocol("prior", self.prior, NoisePrior)
        require_protocol("path", self.path, ProbabilityPath)
        require_protocol("solver", self.solver, ODESolver)
        require_protocol("aggregation", self.aggregation, Aggregation)
        require_protocol("backup", self.backup, Backup)
        require_protocol("coupling", self.coupling, NoiseCoupling)
        require_protocol("times", self.times, TimeDistribution)
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")
        if self.num_noise_samples < 1:
            raise ValueError(f"`num_noise_samples` must be at least 1; got {self.num_noise_samples}.")
        distilled = self.num_distillation_samples
        if distilled is not None and not 1 <= distilled <= self.num_noise_samples:
            raise ValueError(
                f"`num_distillation_samples` must be in [1, {self.num_noise_samples}], or None for all; "
                f"got {distilled}."
            )

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns the output of the distilled critic, averaged over members."""
        return self.distilled.mean(observation, action)

    def value(self, observation: Observation, action: Action, key: Key) -> Scalar:
        """Returns the output of the flows for one noise sample, aggregated over members, in units of reward."""
        return self.aggregation.aggregate(self.returns(observation, action, self.prior.sample(key, (1,))))

    def returns(self, observation: Observation, action: Action, noise: Float[Array, "1"]) -> Float[Array, " members"]:
        """Returns the output of each member's flow for one noise sample."""
        starts = FlowStarts(observation[None], action[None, None], noise[None, None])
        return self.outputs(starts)[:, 0, 0]

    def batch_returns(
        self, batch: Transition, noise: Float[Array, "batch samples 1"]
    ) -> Float[Array, "members batch samples"]:
        """Returns the outputs of the members' flows at the (s, a) of each transition, for each of its noise samples."""
        return self.outputs(_starts(batch, noise))

    def flow(self, field: VelocityField) -> Flow:
        """Returns the flow of one member, given its velocity field."""
        return Flow(field, 1, self.prior, self.path, self.solver)

    def diagnose(self, batch: Transition, key: Key) -> FlowDiagnostics:
        """Returns diagnostics of the flows on a batch, such as mean output and curvature; see `flow_diagnostics`."""
        return flow_diagnostics(self, batch, key)

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, FlowCriticMetrics]:
        """Returns the velocity error plus the error of the distilled critic on a batch, and the metrics.

        Both errors are averaged over the batch; those of a padded action chunk count as 0 in the average.
        """
        shape = (batch.reward.shape[0], self.num_noise_samples)
        action_key, noise_key, fresh_key, time_key = jax.random.split(key, 4)
        noise = self.prior.sample(noise_key, (*shape, 1))
        next_noise = jax.vmap(self.coupling.next_noise)(noise, self.prior.sample(fresh_key, (*shape, 1)))
        times = self.times.sample_times(time_key, shape)

        td_target, flow_q = self.targets_and_outputs(batch, agent, noise, next_noise, action_key)

        # Flow matching: the velocity of the path from each noise sample to its target.
        @update_step("flow_matching")
        def matching_losses(field):
            flow = self.flow(field)

            def of_transition(observation, action, times, noise, td_target):
                code = flow.encode(observation, action)
                losses = jax.vmap(lambda t, z0, y: flow.matching_loss(t, z0, y[None], code))(times, noise, td_target)
                return jnp.sum(losses)

            return jax.vmap(of_transition)(batch.observation, batch.action, times, noise, td_target)

        flow_loss = jnp.mean(batch.counted(self.fields.each(matching_losses)))

        # Distillation: a monolithic ensemble learns the mean output.
        with update_step("distillation"):
            q = self.distilled.batch_values(batch.observation, batch.action)
            distill_loss = jnp.mean(batch.counted((q - jnp.mean(flow_q, axis=(0, 2))[None, :]) ** 2))

        metrics = FlowCriticMetrics(
            critic_loss=flow_loss + distill_loss,
            flow_loss=flow_loss,
            distill_loss=distill_loss,
            q_mean=jnp.mean(q),
            q_max=jnp.max(q),
            q_min=jnp.min(q),
            flow_q_mean=jnp.mean(flow_q),
            q_noise_variance=jnp.mean(jnp.var(flow_q, axis=2)),
        )
        return metrics.critic_loss, metrics

    def targets_and_outputs(
        self,
        batch: Transition,
        agent: FrozenAgent,
        noise: Float[Array, "batch samples 1"],
        next_noise: Float[Array, "batch samples 1"],
        key: Key,
    ) -> tuple[Float[Array, "batch samples"], Float[Array, "members batch distilled"]]:
        """Returns the TD target of each noise sample, and the outputs of the online flows, on which the distilled
        critic is trained. No gradient passes through either."""
        target = agent.target.critic
        act = jax.vmap(jax.vmap(agent.act, (None, 0)))
        with update_step("next_actions"):
            next_action = act(batch.next_observation, jax.random.split(key, next_noise.shape[:2]))
        next_starts = FlowStarts(batch.next_observation, next_action, next_noise)
        starts = _starts(batch, noise[:, : self.num_distillation_samples])
        next_q, flow_q = _outputs_of_both(target, next_starts, agent.critic, starts)
        continuation = target.discount.value * batch.discount
        td_target = jax.vmap(self.backup.td_targets)(batch.reward, continuation, target.aggregation.aggregate(next_q))
        return jax.lax.stop_gradient(td_target), flow_q

    def outputs(self, starts: FlowStarts) -> Float[Array, "members batch samples"]:
        """Returns the output of each member's flow from the given initial points."""
        return self.fields.each(lambda field: self.outputs_of(field, starts))

    def outputs_of(self, field: VelocityField, starts: FlowStarts) -> Float[Array, "batch samples"]:
        """Returns the outputs of one member's flow from the given initial points."""
        flow = self.flow(field)

        def output(observation, action, noise):
            return flow.push_forward(noise, flow.encode(observation, action))[0]

        return jax.vmap(jax.vmap(output, (None, 0, 0)))(starts.observation, starts.action, starts.noise)


def _starts(batch: Transition, noise: Float[Array, "batch samples 1"]) -> FlowStarts:
    """The initial points at (s, a), one for each noise sample."""
    action = jnp.broadcast_to(batch.action[:, None], (*noise.shape[:2], batch.action.shape[1]))
    return FlowStarts(batch.observation, action, noise)


def _outputs_of_both(
    target: FlowCritic, next_starts: FlowStarts, online: FlowCritic, starts: FlowStarts
) -> tuple[Float[Array, "members batch samples"], Float[Array, "members batch distilled"]]:
    """The outputs of the target flows and of the online flows.

    On an accelerator both are integrated as one ensemble, since fewer, larger kernels are faster. They are integrated
    one after the other on a CPU, where this is faster, and also if the members share an encoder, or if the target and
    online flows have different numbers of noise samples.
    """
    apart = jax.default_backend() == "cpu" or online.fields.shares
    if apart or starts.noise.shape != next_starts.noise.shape:
        with update_step("target_integration"):
            next_outputs = target.outputs(next_starts)
        with update_step("online_integration"):
            return next_outputs, online.outputs(starts)
    size = target.fields.size

    def of_all_members(next_start, start):
        return jnp.repeat(jnp.stack([next_start, start]), size, axis=0)

    all_starts = jax.tree.map(of_all_members, next_starts, starts)
    with update_step("integration_of_both"):
        outputs = target.fields.joined(online.fields).each_with(target.outputs_of, all_starts)
    return outputs[:size], outputs[size:]
