"""The flow critic: noise turned into a value by integrating a learnt velocity field."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from floqzoo.critics.aggregation import MeanOverEnsemble
from floqzoo.critics.backup import ExpectedBackup
from floqzoo.critics.noise_coupling import IndependentNoise
from floqzoo.critics.q_ensemble import QEnsemble
from floqzoo.flow.fixed_step import Euler
from floqzoo.flow.flow import Flow
from floqzoo.flow.path import Linear
from floqzoo.flow.time_distribution import UniformTime
from floqzoo.hyperparameter import Hyperparameter, frozen, hyperparameter, require
from floqzoo.networks.ensemble import Ensemble
from floqzoo.protocols import (
    Aggregation,
    Backup,
    NoiseCoupling,
    NoisePrior,
    ODESolver,
    Policy,
    ProbabilityPath,
    TimeDistribution,
    VelocityField,
    require_socket,
)
from floqzoo.records import Transition
from floqzoo.typing import Action, Key, Observation, Scalar


class FlowCriticMetrics(eqx.Module):
    """What a flow critic reports of a batch.

    - `critic_loss`: `flow_loss` + `distill_loss`.
    - `flow_loss`: Squared velocity error, summed over noise copies, averaged over members and batch.
    - `distill_loss`: Squared error of the distilled readout, averaged over members and batch.
    - `q_mean`, `q_max`, `q_min`: The distilled readout over batch and members.
    - `flow_q_mean`: The flow's own readout, averaged over everything.
    - `q_noise_variance`: The variance of the flow's readout over the readout's noise copies, averaged over batch and
      members; 0 where there is one copy.
    """

    critic_loss: Scalar
    flow_loss: Scalar
    distill_loss: Scalar
    q_mean: Scalar
    q_max: Scalar
    q_min: Scalar
    flow_q_mean: Scalar
    q_noise_variance: Scalar


class Starts(eqx.Module):
    """What flows over returns begin with: states, and for each of their copies an action and a noise."""

    observation: Float[Array, "*members batch observation"]
    action: Float[Array, "*members batch copies action"]
    noise: Float[Array, "*members batch copies 1"]


class FlowCritic(eqx.Module):
    r"""Q(s, a) as the end of a flow over the real line: $z_0 \sim p_0$, $\dot z_t = v_\theta(t, z_t \mid s, a)$, $Q = z_1$.

    Trained by matching the velocity of the path from noise to TD target at every time,

    $$\frac1{EB} \sum_{e,b} \sum_{j=1}^m \bigl( v_e(t_j, z_{t_j} \mid s, a) - \dot z_{t_j} \bigr)^2, \qquad
    z_t = (1 - t) z_0 + t y_j, \quad \dot z_t = y_j - z_0,$$

    where each of the $m$ copies has its own noise, time, next action and next noise, and the targets come from
    integrating the target fields, by the expected backup
    $y_j = r + \gamma \, \text{mask} \, \frac1m \sum_i \operatorname{agg}_e \bar z_1^{e}(s', a'_i, z'_i)$.
    A distilled readout is regressed to the mean of the online flow's ends, from the same noises,
    and serves as the score for policy improvement. No gradient passes through an integration.

    - `fields`: The ensemble of velocity fields over $\mathbb R$, conditioned on observation and action.
    - `readout`: The distilled readout.
    - `prior`: $p_0$; floq's is `Uniform.from_rewards(...)`.
    - `path`, `solver`: How noise and target are joined, and how the field is followed; floq: straight, K = 8 Euler steps.
    - `discount`: $\gamma$ in [0, 1).
    - `copies`: The number $m$ of noises for each transition, at least 1. The loss is summed over them.
    - `readout_copies`: From how many of them the online flow is integrated for the readout, 1 to `copies`; None, floq's
      way, is all. Fewer are faster and noisier: half of a loss's integrations are the readout's.
    - `integrate_together`: Whether the target's flows and the online ones are integrated as one ensemble, and not one after
      the other: fewer and larger kernels, for an accelerator; on a CPU it is slower. It needs as many noises for both.
    - `aggregation`: How members become one value in the target, for each copy, before the backup.
    - `backup`: Expected (floq) or distributional.
    - `coupling`: Whether the target flow starts from fresh noise (floq) or from the regression's own.
    - `times`: Where along the path the field is trained.

    Source: floq (arXiv 2509.06863), section 4, and its official code, whose reductions are kept.
    """

    fields: Ensemble[VelocityField]
    readout: QEnsemble
    prior: NoisePrior | Any
    path: ProbabilityPath | Any = Linear()
    solver: ODESolver | Any = Euler(8)
    discount: Hyperparameter = eqx.field(converter=hyperparameter, default=0.99)
    copies: int = eqx.field(static=True, default=8)
    readout_copies: int | None = eqx.field(static=True, default=None)
    integrate_together: bool = eqx.field(static=True, default=False)
    aggregation: Aggregation | Any = MeanOverEnsemble()
    backup: Backup | Any = ExpectedBackup()
    coupling: NoiseCoupling | Any = IndependentNoise()
    times: TimeDistribution | Any = UniformTime()

    def __check_init__(self):
        require_socket("prior", self.prior, NoisePrior)
        require_socket("path", self.path, ProbabilityPath)
        require_socket("solver", self.solver, ODESolver)
        require_socket("aggregation", self.aggregation, Aggregation)
        require_socket("backup", self.backup, Backup)
        require_socket("coupling", self.coupling, NoiseCoupling)
        require_socket("times", self.times, TimeDistribution)
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")
        if self.copies < 1:
            raise ValueError(f"`copies` must be at least 1; got {self.copies}.")
        if self.readout_copies is not None and not 1 <= self.readout_copies <= self.copies:
            raise ValueError(
                f"`readout_copies` must lie in [1, {self.copies}], or be None for all; got {self.readout_copies}."
            )
        if self.integrate_together and self.readout_copies not in (None, self.copies):
            raise ValueError(
                f"`readout_copies` must be None, or {self.copies}, where flows are integrated together; "
                f"got {self.readout_copies}."
            )

    def value(self, observation: Observation, action: Action, key: Key) -> Scalar:
        """The aggregated ends of the members' flows from one noise, in units of reward."""
        noise = self.prior.sample(key, (1,))
        return self.aggregation.aggregate(self.returns(observation, action, noise))

    def score(self, observation: Observation, action: Action) -> Scalar:
        """The mean of the distilled readout."""
        return self.readout.mean(observation, action)

    def returns(self, observation: Observation, action: Action, noise: Float[Array, "1"]) -> Float[Array, " members"]:
        """Where the flow of each member ends when it starts from `noise`."""

        def of_member(field):
            flow = self.flow(field)
            return flow.push_forward(noise, flow.encode(observation, action))[0]

        return self.fields.each(of_member)

    def flow(self, field: VelocityField) -> Flow:
        """The flow of one member."""
        return Flow(field, 1, self.prior, self.path, self.solver)

    def critic_loss(
        self, batch: Transition, target: "FlowCritic", policy: Policy, key: Key
    ) -> tuple[Scalar, FlowCriticMetrics]:
        """The velocity error and the readout's error of a batch."""
        size = batch.reward.shape[0]
        action_key, noise_key, fresh_key, time_key = jax.random.split(key, 4)
        noise = self.prior.sample(noise_key, (size, self.copies, 1))
        fresh = self.prior.sample(fresh_key, (size, self.copies, 1))
        next_noise = jax.vmap(self.coupling.next_noise)(noise, fresh)
        times = self.times.sample_times(time_key, (size, self.copies))

        td_target, flow_q = self.targets_and_ends(batch, target, policy, noise, next_noise, action_key)
        flow_loss = self._flow_loss(batch, times, noise, td_target)
        q = self.readout.batch_values(batch.observation, batch.action)
        distill_loss = jnp.mean((q - jnp.mean(flow_q, axis=(0, 2))[None, :]) ** 2)

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

    def targets_and_ends(
        self,
        batch: Transition,
        target: "FlowCritic",
        policy: Policy,
        noise: Float[Array, "batch copies 1"],
        next_noise: Float[Array, "batch copies 1"],
        key: Key,
    ) -> tuple[Float[Array, "batch copies"], Float[Array, "members batch readout_copies"]]:
        """The target of each copy, with a next action for each, and this critic's own ends; no gradient reaches either."""
        next_starts = target.next_starts(batch, policy, next_noise, key)
        starts = self.starts(batch, noise[:, : self.readout_copies])
        next_q, flow_q = target.ends_beside(frozen(self), next_starts, starts)
        return jax.lax.stop_gradient(target.backed_up(batch, next_q, self.backup)), flow_q

    def backed_up(
        self, batch: Transition, next_q: Float[Array, "members batch copies"], backup: Backup
    ) -> Float[Array, "batch copies"]:
        """The target of each copy, from the ends of this critic's flows at the next states."""
        continuation = self.discount.value * batch.mask
        return jax.vmap(backup.td_targets)(batch.reward, continuation, self.aggregation.aggregate(next_q))

    def batch_returns(
        self, batch: Transition, noise: Float[Array, "batch copies 1"]
    ) -> Float[Array, "members batch copies"]:
        """Where the members' flows at (s, a) end from each noise."""
        return self.ends(self.starts(batch, noise))

    def starts(self, batch: Transition, noise: Float[Array, "batch copies 1"]) -> Starts:
        """(s, a) with each of its noises."""
        action = jnp.broadcast_to(batch.action[:, None], (*noise.shape[:2], batch.action.shape[1]))
        return Starts(batch.observation, action, noise)

    def next_starts(
        self, batch: Transition, policy: Policy, next_noise: Float[Array, "batch copies 1"], key: Key
    ) -> Starts:
        """s' with each of its noises, and an action of the policy for each."""
        keys = jax.random.split(key, next_noise.shape[:2])
        next_action = jax.vmap(jax.vmap(policy.act, (None, 0)))(batch.next_observation, keys)
        return Starts(batch.next_observation, next_action, next_noise)

    def ends(self, starts: Starts) -> Float[Array, "members batch copies"]:
        """Where the members' flows end."""
        return self.fields.each(lambda field: self._ends_of(field, starts))

    def ends_beside(
        self, online: "FlowCritic", next_starts: Starts, starts: Starts
    ) -> tuple[Float[Array, "members batch copies"], Float[Array, "members batch readout_copies"]]:
        """The ends of this critic's flows and of the online one's."""
        if not self.integrate_together:
            return self.ends(next_starts), online.ends(starts)
        both = self.fields.joined(online.fields)
        size = self.fields.size

        def of_all(mine, its):
            return jnp.repeat(jnp.stack([mine, its]), size, axis=0)

        ends = both.each_with(self._ends_of, jax.tree.map(of_all, next_starts, starts))
        return ends[:size], ends[size:]

    def _ends_of(self, field: VelocityField, starts: Starts) -> Float[Array, "batch copies"]:
        flow = self.flow(field)

        def end(observation, action, noise):
            return flow.push_forward(noise, flow.encode(observation, action))[0]

        return jax.vmap(jax.vmap(end, (None, 0, 0)))(starts.observation, starts.action, starts.noise)

    def _flow_loss(self, batch, times, noise, td_target) -> Scalar:
        def of_member(field):
            flow = self.flow(field)

            def of_example(observation, action, times, noises, targets):
                code = flow.encode(observation, action)
                losses = jax.vmap(lambda t, z0, y: flow.matching_loss(t, z0, y[None], code))(times, noises, targets)
                return jnp.sum(losses)

            return jax.vmap(of_example)(batch.observation, batch.action, times, noise, td_target)

        return jnp.mean(self.fields.each(of_member))
