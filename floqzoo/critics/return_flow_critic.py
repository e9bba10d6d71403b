"""The return flow critic, which represents the distribution of returns by an ensemble of flows over the real line."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.critics.flow_diagnostics import FlowDiagnostics, flow_diagnostics
from floqzoo.critics.next_action import PolicyNextAction
from floqzoo.critics.td_targets import MeanOverEnsemble
from floqzoo.flow.clipped_euler import ClippedEuler
from floqzoo.flow.fixed_step import Euler
from floqzoo.flow.flow import Flow
from floqzoo.flow.path import LinearPath
from floqzoo.flow.prior import GaussianPrior, UniformPrior, quantile_noise
from floqzoo.flow.time_distribution import UniformTime
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, optional_hyperparameter, require
from floqzoo.networks.ensemble import Ensemble
from floqzoo.protocols import (
    Aggregation,
    NextAction,
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


class ReturnFlowMetrics(eqx.Module):
    """The metrics of a `ReturnFlowCritic` on a batch.

    The two losses, BCFM and DCFM, are defined in `ReturnFlowCritic`.

    - `critic_loss`: Confidence weight * (bcfm_weight * BCFM + dcfm_weight * DCFM), averaged over the batch.
    - `bcfm_loss`, `dcfm_loss`: The two squared velocity errors without weights, summed over members and averaged over
      the batch; `dcfm_loss` is None if DCFM is disabled.
    - `q_mean`, `q_max`, `q_min`: Mean, maximum and minimum of Q over the batch, computed with one Euler step.
    - `return_std`: The absolute derivative of the return with respect to the noise, aggregated over members and
      averaged over the batch; None if the confidence weight is disabled.
    - `confidence`: The confidence weight, averaged over the batch, in [0.5, 1]; None if the weight is disabled.
    """

    critic_loss: Scalar
    bcfm_loss: Scalar
    dcfm_loss: Scalar | None
    q_mean: Scalar
    q_max: Scalar
    q_min: Scalar
    return_std: Scalar | None
    confidence: Scalar | None


class ReturnTargets(eqx.Module):
    """The regression targets of the velocity fields, for one transition or a batch.

    The two losses, BCFM and DCFM, are defined in `ReturnFlowCritic`.

    - `end`: The return $R$, at which the path of BCFM ends.
    - `point`, `velocity`: The point at which DCFM trains the fields, and the target velocity there; None if DCFM is
      disabled.
    """

    end: Float[Array, "*batch 1"]
    point: Float[Array, "*batch 1"] | None = None
    velocity: Float[Array, "*batch 1"] | None = None


class ReturnFlowCritic(eqx.Module):
    r"""A critic that learns the distribution of the return as a flow from noise: $z_0 \sim N(0, 1)$,
    $\dot z_t = v_\theta(t, z_t \mid s, a)$, $z_1 \sim Z(s, a)$.

    Two losses share the noise $\epsilon$, the time $t$ and the next action $a'$ of a transition. Let
    $\bar z_t = \operatorname{agg}^{\text{ret}}_e \bar\psi^e_t(\epsilon \mid s', a')$ be the aggregated states of the
    target flows at time $t$, and $\gamma_d$ the product of $\gamma$ and the transition's discount. The losses are

    $$\begin{aligned}
    \text{BCFM:} \quad & \textstyle\sum_e \bigl( v_e(t, (1 - t) \epsilon + t R \mid s, a) - (R - \epsilon) \bigr)^2,
    \quad R = r + \gamma_d \, \bar z_1 \\
    \text{DCFM:} \quad & 1[\gamma_d > 0] \textstyle\sum_e \bigl( v_e(t, r + \gamma_d \, \bar z_t \mid s, a)
    - \operatorname{agg}^{\text{ret}}_e \bar v_e(t, \bar z_t \mid s', a') \bigr)^2 \\
    \text{critic:} \quad & w \, (\lambda_B \, \text{BCFM} + \lambda_D \, \text{DCFM}), \quad
    w = \sigma(-T / \text{std}) + \tfrac12,
    \end{aligned}$$

    and are averaged over the batch. The confidence weight $w$ is treated as a constant. It increases with
    $\text{std} = \operatorname{agg}_e \lvert \partial \bar\psi^e_1(\epsilon' \mid s, a) / \partial \epsilon' \rvert$,
    which is computed with the target flows at the action in the data and with separate noise $\epsilon'$. The
    derivative is $\prod_k (1 + \Delta t \, \partial_z \bar v_e(t_k, z_k))$ along the trajectory of the solver. Clipping
    changes this trajectory, but is ignored in the derivative. For a solver other than Euler's method, the product is an
    approximation.

    A terminal transition has no next distribution, so only BCFM is trained on it. As in the paper, the DCFM target has
    no factor $\gamma$, although the push-forward of a flow by $z \mapsto r + \gamma z$ would have velocity $\gamma v$.

    $Q$ is computed in one Euler step from noise to $t = 1$, whatever the solver, because $v(0, \epsilon \mid s, a)$ is the mean of
    $R - \epsilon$. `value` takes this step from noise that it draws with a key. `score` takes no key: it averages over
    $n$ fixed noise samples, the quantiles $\epsilon_j$ of the prior at the levels $(j - \frac12) / n$. Both methods
    aggregate the members for each noise sample.

    - `fields`: The ensemble of velocity fields over $\mathbb R$, conditioned on observation and action.
    - `solver`: The ODE solver. A `ClippedEuler` clips returns to their range after every step, also in $Q$.
    - `discount`: $\gamma$ in [0, 1).
    - `bcfm_weight`, `dcfm_weight`: $\lambda_B$ and $\lambda_D$, at least 0. If `dcfm_weight` is None, DCFM
      is not computed.
    - `temperature`: The temperature $T$ of the confidence weight, above 0, in units of reward; None for $w = 1$.
    - `aggregation`: $\operatorname{agg}$, which aggregates the members in `score`, `value` and std.
    - `return_aggregation`: $\operatorname{agg}^{\text{ret}}$, which aggregates the members in targets.
    - `num_score_samples`: The number $n$ of fixed noise samples in `score`, at least 1. Fixed samples are our choice:
      the authors draw one noise sample for each score.
    - `next_action`: The source of $a'$; Value Flows uses `BestOfNNextAction(16)`.
    - `prior`: The noise prior, which must [have quantiles][floqzoo.protocols.HasQuantiles].
    - `path`: The probability path from noise to $R$.
    - `times`: The distribution of $t$.

    **Raises** `ValueError` if a number is out of range, `TypeError` if a part does not satisfy its protocol.

    Source: Value Flows (arXiv 2510.07650), section 4, and its official code, with the same sums and means in the
    losses.
    """

    fields: Ensemble[VelocityField]
    solver: ODESolver | Any = Euler(10)
    discount: Hyperparameter = eqx.field(converter=hyperparameter, default=0.99)
    bcfm_weight: Hyperparameter = eqx.field(converter=hyperparameter, default=1.0)
    dcfm_weight: Hyperparameter | None = eqx.field(converter=optional_hyperparameter, default=1.0)
    temperature: Hyperparameter | None = eqx.field(converter=optional_hyperparameter, default=0.3)
    aggregation: Aggregation | Any = MeanOverEnsemble()
    return_aggregation: Aggregation | Any = MeanOverEnsemble()
    num_score_samples: int = eqx.field(static=True, default=4)
    next_action: NextAction | Any = PolicyNextAction()
    prior: GaussianPrior | UniformPrior | Any = GaussianPrior()
    path: ProbabilityPath | Any = LinearPath()
    times: TimeDistribution | Any = UniformTime()

    def __check_init__(self):
        require_protocol("solver", self.solver, ODESolver)
        require_protocol("aggregation", self.aggregation, Aggregation)
        require_protocol("return_aggregation", self.return_aggregation, Aggregation)
        require_protocol("next_action", self.next_action, NextAction)
        require_protocol("prior", self.prior, NoisePrior)
        require_protocol("path", self.path, ProbabilityPath)
        require_protocol("times", self.times, TimeDistribution)
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")
        for name, weight in (("bcfm_weight", self.bcfm_weight), ("dcfm_weight", self.dcfm_weight)):
            if weight is not None:
                require(name, weight, lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")
        if self.temperature is not None:
            require(
                "temperature", self.temperature, lambda value: np.isfinite(value) & (value > 0), "above 0 and finite"
            )
        if self.num_score_samples < 1:
            raise ValueError(f"`num_score_samples` must be at least 1; got {self.num_score_samples}.")

    # Values

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns Q(s, a), the mean of the return distribution; see `mean_return`."""
        return self.mean_return(observation, action)

    def mean_return(self, observation: Observation, action: Action) -> Scalar:
        """Returns the mean output of one Euler step over fixed noise samples, in units of reward.

        The outputs are aggregated over members for each noise sample.
        """
        return jnp.mean(self._one_step(observation, action, self.fixed_noise()))

    def fixed_noise(self) -> Float[Array, "samples 1"]:
        """Returns the noise samples that `score` uses, which are quantiles of the prior."""
        return quantile_noise(self.prior, self.num_score_samples)

    def value(self, observation: Observation, action: Action, key: Key) -> Scalar:
        """Returns the output of one Euler step from one noise sample, aggregated over members, in units of reward."""
        return self._one_step(observation, action, self.prior.sample(key, (1, 1)))[0]

    def _one_step(
        self, observation: Observation, action: Action, noise: Float[Array, "samples 1"]
    ) -> Float[Array, " samples"]:
        """The aggregated outputs of one Euler step from each noise sample."""
        solver = self.solver if isinstance(self.solver, ClippedEuler) else Euler(1)

        def of_member(field):
            code = field.encode(observation, action)
            zero, one = jnp.zeros((), jnp.result_type(noise)), jnp.ones((), jnp.result_type(noise))
            return jax.vmap(lambda z: solver.step(lambda t, x: field.velocity(t, x, code), zero, one, z))(noise)

        return self.aggregation.aggregate(self.fields.each(of_member))[:, 0]

    def returns(self, observation: Observation, action: Action, noise: Float[Array, "1"]) -> Float[Array, " members"]:
        """Returns the output of each member's flow for one noise sample, which is a sample of the return."""
        return self.fields.each(lambda field: self._output(field, observation, action, noise))

    def batch_returns(
        self, batch: Transition, noise: Float[Array, "batch samples 1"]
    ) -> Float[Array, "members batch samples"]:
        """Returns the outputs of the members' flows at the (s, a) of each transition, for each of its noise samples."""

        def of_member(field):
            of_noise = jax.vmap(lambda s, a, z: self._output(field, s, a, z), (None, None, 0))
            return jax.vmap(of_noise)(batch.observation, batch.action, noise)

        return self.fields.each(of_member)

    def _output(
        self, field: VelocityField, observation: Observation, action: Action, noise: Float[Array, "1"]
    ) -> Scalar:
        flow = self.flow(field)
        return flow.push_forward(noise, flow.encode(observation, action))[0]

    def flow(self, field: VelocityField) -> Flow:
        """Returns the flow of one member, given its velocity field."""
        return Flow(field, 1, self.prior, self.path, self.solver)

    def diagnose(self, batch: Transition, key: Key) -> FlowDiagnostics:
        """Returns diagnostics of the flows on a batch, such as mean output and curvature; see `flow_diagnostics`."""
        return flow_diagnostics(self, batch, key)

    # Losses

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, ReturnFlowMetrics]:
        """Returns the weighted sum of both velocity errors, averaged over the batch, and the metrics.

        The loss of a padded action chunk counts as 0 in the average.
        """
        action_key, noise_key, time_key, std_key = jax.random.split(key, 4)
        size, target = batch.reward.shape[0], agent.target.critic
        with update_step("next_actions"):
            next_action = self.next_action.next_actions(batch, agent, action_key)
        noise = self.prior.sample(noise_key, (size, 1))
        times = self.times.sample_times(time_key, (size,))
        with update_step("target_integration"):
            targets = jax.lax.stop_gradient(target.targets_of(batch, next_action, noise, times))

        @update_step("flow_matching")
        def losses_of(field):
            flow = self.flow(field)

            def of_transition(observation, action, noise, t, targets):
                code = flow.encode(observation, action)
                bcfm = flow.matching_loss(t, noise, targets.end, code)
                if self.dcfm_weight is None:
                    return bcfm, None
                return bcfm, (field.velocity(t, targets.point, code) - targets.velocity)[0] ** 2

            return jax.vmap(of_transition)(batch.observation, batch.action, noise, times, targets)

        bcfm, dcfm = jax.tree.map(lambda losses: jnp.sum(losses, axis=0), self.fields.each(losses_of))
        losses = self.bcfm_weight.value * bcfm
        if self.dcfm_weight is not None:
            # After a termination there is no next distribution, so DCFM has no target velocity.
            dcfm = jnp.where(target.discount.value * batch.discount > 0, dcfm, 0.0)
            losses = losses + self.dcfm_weight.value * dcfm
        stds = confidence = None
        if self.temperature is not None:
            with update_step("confidence"):
                stds = target.return_stds(batch, self.prior.sample(std_key, (size, 1)))
                confidence = jax.lax.stop_gradient(jax.nn.sigmoid(-target.temperature.value / stds) + 0.5)
            losses = confidence * losses
        loss = jnp.mean(batch.counted(losses))
        q = jax.vmap(self.mean_return)(batch.observation, batch.action)
        return loss, ReturnFlowMetrics(
            critic_loss=loss,
            bcfm_loss=jnp.mean(batch.counted(bcfm)),
            dcfm_loss=None if dcfm is None else jnp.mean(batch.counted(dcfm)),
            q_mean=jnp.mean(q),
            q_max=jnp.max(q),
            q_min=jnp.min(q),
            return_std=None if stds is None else jnp.mean(stds),
            confidence=None if confidence is None else jnp.mean(confidence),
        )

    def targets_of(
        self,
        batch: Transition,
        next_action: Float[Array, "batch action"],
        noise: Float[Array, "batch 1"],
        times: Float[Array, " batch"],
    ) -> ReturnTargets:
        """Computes the regression targets of a batch with the flows of this critic, from one noise sample and one time
        per transition."""

        def states_of(field):
            """The states of the flows at t = 1 and, for DCFM, at the time of each transition; both integrations take
            the same number of steps."""
            flow = self.flow(field)

            def of_transition(observation, action, noise, t):
                code = flow.encode(observation, action)
                ends = jnp.ones_like(t)[None] if self.dcfm_weight is None else jnp.stack([jnp.ones_like(t), t])
                return jax.vmap(lambda end: flow.push_forward(noise, code, jnp.zeros_like(t), end))(ends)

            return jax.vmap(of_transition)(batch.next_observation, next_action, noise, times)

        states = self.return_aggregation.aggregate(self.fields.each(states_of))
        reward, continuation = batch.reward[:, None], (self.discount.value * batch.discount)[:, None]
        end = reward + continuation * states[:, 0]
        if self.dcfm_weight is None:
            return ReturnTargets(end)
        stopped = states[:, 1]

        def velocities_of(field):
            def of_transition(observation, action, t, x):
                return field.velocity(t, x, field.encode(observation, action))

            return jax.vmap(of_transition)(batch.next_observation, next_action, times, stopped)

        velocities = self.return_aggregation.aggregate(self.fields.each(velocities_of))
        return ReturnTargets(end, reward + continuation * stopped, velocities)

    def return_stds(self, batch: Transition, noise: Float[Array, "batch 1"]) -> Float[Array, " batch"]:
        """Returns the absolute derivative of the return at (s, a) with respect to the noise, aggregated over members.

        For a Gaussian return and the default prior, it is the standard deviation of the return.
        """

        def of_member(field):
            flow = self.flow(field)

            def of_transition(observation, action, noise):
                code = flow.encode(observation, action)
                trajectory = flow.trajectory(noise, code)

                def slope(t, x):
                    return jax.jvp(lambda x: field.velocity(t, x, code), (x,), (jnp.ones_like(x),))[1][0]

                slopes = jax.vmap(slope)(trajectory.t[:-1], trajectory.x[:-1])
                return jnp.abs(jnp.prod(1 + jnp.diff(trajectory.t) * slopes))

            return jax.vmap(of_transition)(batch.observation, batch.action, noise)

        return self.aggregation.aggregate(self.fields.each(of_member))
