"""The successor measure as a flow over observations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.critics.next_action import DataNextAction, PolicyNextAction
from floqzoo.flow.divergence import ExactDivergence, HutchinsonDivergence
from floqzoo.flow.flow import Flow
from floqzoo.flow.time_distribution import UniformTime
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.networks.normaliser import Normaliser
from floqzoo.protocols import NextAction, ODESolver, SuccessorTarget, TimeDistribution
from floqzoo.records import FrozenAgent, FutureKind, PathPoint, Transition
from floqzoo.scopes import update_step
from floqzoo.successor.targets import MonteCarloTarget, TD2Target, noise_of
from floqzoo.successor.velocity_error import NoiseError, VelocityError
from floqzoo.typing import Action, Array, Code, Condition, Key, Observation, Scalar, Time


class SuccessorMetrics(eqx.Module):
    """The metrics of a successor measure on a batch.

    - `successor_loss`: (1 - discount) * `one_step_loss` + discount * `bootstrap_loss`.
    - `one_step_loss`: The velocity error on paths to the next state, or to the current state if
      `FlowSuccessor.from_current` is True.
    - `bootstrap_loss`: The velocity error on the targets that the target rule computes.
    """

    successor_loss: Scalar
    one_step_loss: Scalar
    bootstrap_loss: Scalar


class FlowSuccessor(eqx.Module):
    r"""The successor measure of a policy, its discounted distribution of future states, as a flow over observations.

    $$m^\pi(\cdot \mid s, a) = (1 - \gamma) \sum_{k \ge 0} \gamma^k \Pr(s_{k+1} \in \cdot \mid s, a, \pi)$$

    The measure starts at the *next* state, and satisfies $m = (1 - \gamma) P + \gamma P^\pi m$, where $P$ is the
    transition kernel to the next state, and $P^\pi$ is the kernel to the next state and action. The loss of every
    transition has one term for each of the two summands:

    $$(1 - \gamma) \tfrac1d \lVert v_\theta(t, x_t \mid s, a) - \dot x_t \rVert^2
    + \gamma \tfrac1d \lVert v_\theta(t, \hat x_t \mid s, a) - \hat u_t \rVert^2,$$

    where $x_t$ is a point on the path from noise to $s'$, and the target rule computes the point $\hat x_t$ and the
    velocity $\hat u_t$ from the target flow at $(s', a')$. Both terms use the same time $t$, but separate noise. The
    `discount` of transitions is ignored: episodes are assumed to continue after their recorded end.

    - `flow`: A flow over normalised observations, conditioned on the normalised observation and the action. TD-Flow
      uses a Gaussian prior, a linear path and the midpoint method with 10 equal steps, even for a solve that stops
      before $t = 1$.
    - `target_rule`: The target for futures beyond the next state: `TD2Target`, `StraightTD2Target`,
      `CoupledTDTarget`, `TDTarget` or `MonteCarloTarget`.
    - `discount`: $\gamma$ in [0, 1).
    - `next_action`: The source of $a'$: `PolicyNextAction` for the measure of the agent's policy, `DataNextAction` for
      the measure of the behaviour policy.
    - `normaliser`: The `Normaliser` of observations.
    - `times`: The distribution of the times at which the field is trained.
    - `velocity_error`: The error measure of velocities: `VelocityError` or `NoiseError`.
    - `from_current`: Whether the measure starts at the *current* state, as in InFOM. If so, it is
      $(1 - \gamma) \sum_{k \ge 0} \gamma^k \Pr(s_k \in \cdot)$, and $x_t$ is a point on the path from noise to $s$.
    - `bootstrap_trains_conditions`: Whether both terms have a gradient with respect to the further conditions (see
      below). By default, only the one-step term has such a gradient, as in InFOM.

    The flow may take further conditions, such as an intention. Every method takes these conditions after its other
    arguments. For `successor_loss` and `row_losses`, each condition is an array with one row per transition.

    **Raises** `ValueError` if the discount is out of range, if the normaliser and the flow have different dimensions,
    or if `from_current` is used with a `MonteCarloTarget`, whose futures start at the next state.

    Source: temporal difference flows (arXiv 2503.09817), algorithm 1. Drawing separate noise for the two terms is our
    interpretation, under which the paper's theorem on variances holds unchanged.
    """

    flow: Flow
    target_rule: SuccessorTarget = TD2Target()
    discount: Hyperparameter = eqx.field(converter=hyperparameter, default=0.99)
    next_action: NextAction = PolicyNextAction()
    normaliser: Normaliser = eqx.field(default_factory=Normaliser)
    times: TimeDistribution = UniformTime()
    velocity_error: VelocityError | NoiseError = VelocityError()
    from_current: bool = eqx.field(static=True, default=False)
    bootstrap_trains_conditions: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if self.from_current and isinstance(self.target_rule, MonteCarloTarget):
            raise ValueError(
                "`from_current` must be False for a MonteCarloTarget, whose futures start at the next state."
            )
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")
        for name, number in (("mean", self.normaliser.mean), ("scale", self.normaliser.scale)):
            if np.ndim(number.value) and np.shape(number.value)[-1] != self.flow.dim:
                raise ValueError(
                    f"`normaliser.{name}` must be one number or {self.flow.dim}, one per coordinate of the flow; "
                    f"got {np.shape(number.value)[-1]}."
                )

    @property
    def future_kind(self) -> FutureKind:
        """The kind of the futures; they are those of the data if `next_action` is a `DataNextAction`."""
        return FutureKind(self.discount, isinstance(self.next_action, DataNextAction), self.from_current)

    def sample_futures(
        self, observation: Observation, action: Action, count: int, key: Key, *conditions: Condition
    ) -> Float[Array, "count observation"]:
        """Draws `count` future observations, in the units of the observation."""
        code = self.encode(observation, action, *conditions)
        noise = self.flow.prior.sample(key, (count, self.flow.dim))
        return jax.vmap(lambda x0: self.normaliser.restore(self.flow.push_forward(x0, code)))(noise)

    def log_prob(
        self,
        future: Observation,
        observation: Observation,
        action: Action,
        *conditions: Condition,
        divergence: ExactDivergence | HutchinsonDivergence = ExactDivergence(),
        solver: ODESolver | None = None,
        key: Key | None = None,
    ) -> Scalar:
        """Returns the log-density of a future observation, in the units of the observation; see `Flow.log_prob`."""
        log_density = self.flow.log_prob(
            self.normaliser.normalise(future),
            self.encode(observation, action, *conditions),
            divergence=divergence,
            solver=solver,
            key=key,
        )
        return log_density - self.normaliser.log_volume(self.flow.dim)

    def encode(self, observation: Observation, action: Action, *conditions: Condition) -> Code:
        """Normalises an observation, and encodes it with an action and further conditions for the flow."""
        return self.flow.encode(self.normaliser.normalise(observation), action, *conditions)

    def successor_loss(
        self,
        batch: Transition,
        target: "FlowSuccessor",
        agent: FrozenAgent,
        key: Key,
        *conditions: Float[Array, "batch _"],
    ) -> tuple[Scalar, SuccessorMetrics]:
        """Returns the weighted sum of both terms, averaged over the batch, and the metrics.

        **Raises** the errors of `row_losses`.
        """
        losses = self.row_losses(batch, target, agent, key, *conditions)
        one_step, bootstrap = jax.tree.map(jnp.mean, losses)
        loss = (1 - self.discount.value) * one_step + self.discount.value * bootstrap
        return loss, SuccessorMetrics(loss, one_step, bootstrap)

    def row_losses(
        self,
        batch: Transition,
        target: "FlowSuccessor",
        agent: FrozenAgent,
        key: Key,
        *conditions: Float[Array, "batch _"],
    ) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """Returns the unweighted one-step error and bootstrap error of each transition, at random times.

        **Raises** `ValueError` if the actions of the policy have a different shape from those in the data, or if the
        batch lacks a field that the target rule or the source of next actions requires.
        """
        size = batch.reward.shape[0]
        action_key, time_key, noise_key = jax.random.split(key, 3)
        with update_step("next_actions"):
            next_action = self.next_action.next_actions(batch, agent, action_key)
        times = self.times.sample_times(time_key, (size,))
        keys = jax.random.split(noise_key, size)
        rows = (batch, next_action, times, keys, *conditions)
        return jax.vmap(lambda *row: self.transition_losses(target, *row))(*rows)

    def transition_losses(
        self,
        target: "FlowSuccessor",
        transition: Transition,
        next_action: Action,
        t: Time,
        key: Key,
        *conditions: Condition,
    ) -> tuple[Scalar, Scalar]:
        """Returns the unweighted one-step error and bootstrap error of one transition at time `t`."""
        noise_key, bootstrap_key = jax.random.split(key)
        step = transition.with_observations(self.normaliser.normalise)
        fixed = jax.lax.stop_gradient(conditions)
        with update_step("targets"):
            next_code = target.flow.encode(step.next_observation, next_action, *fixed)
            bootstrap = self.target_rule.regression(target.flow, next_code, step, t, bootstrap_key)
        with update_step("flow_matching"):
            code = self.flow.encode(step.observation, step.action, *conditions)
            first = step.observation if self.from_current else step.next_observation
            one_step = self.flow.path.at(t, noise_of(self.flow, noise_key), first)
            bootstrap_code = code
            if conditions and not self.bootstrap_trains_conditions:
                bootstrap_code = self.flow.encode(step.observation, step.action, *fixed)
            return self._error(t, one_step, code), self._error(t, bootstrap, bootstrap_code)

    def _error(self, t: Time, point: PathPoint, code: Code) -> Scalar:
        velocity = self.flow.field.velocity(t, point.x, code)
        # A noise error needs an affine path, and raises an error during tracing otherwise.
        return self.velocity_error.error(self.flow.path, t, velocity, point.velocity)  # pyright: ignore[reportArgumentType]
