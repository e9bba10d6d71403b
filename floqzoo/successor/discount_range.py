"""Successor measures for a range of discounts, learnt by one flow that takes the discount as an input."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

from floqzoo.hyperparameter import Hyperparameter, Number, hyperparameter, require
from floqzoo.protocols import NextAction
from floqzoo.records import FrozenAgent, FutureKind, Transition
from floqzoo.successor.flow_successor import FlowSuccessor, SuccessorMetrics
from floqzoo.successor.targets import MonteCarloTarget
from floqzoo.typing import Action, Array, Condition, Key, Observation, Scalar


class DiscountRangeSuccessor(eqx.Module):
    r"""The successor measures $m_\gamma(\cdot \mid s, a)$ for a range of discounts $\gamma$, as one flow.

    The flow is trained with the loss of [`FlowSuccessor`][floqzoo.successor.FlowSuccessor], with $\gamma$ as an
    additional condition, drawn separately for each transition:

    $$\mathbb E_\gamma \left[ (1 - \gamma) \tfrac1d \lVert v_\theta(t, x_t \mid s, a, \gamma) - \dot x_t \rVert^2
    + \gamma \tfrac1d \lVert v_\theta(t, \hat x_t \mid s, a, \gamma) - \hat u_t \rVert^2 \right],$$

    where the target flow at $(s', a')$ takes the same $\gamma$. Let $h = 1 / (1 - \gamma)$ be the effective horizon.
    The discounts are drawn such that $\log h$ is uniform over its range, so short and long horizons are trained
    equally often.

    - `measure`: A `FlowSuccessor` whose flow takes one further condition: $\log h$, scaled to [-1, 1]. The
      `discount` of the measure must be in the range. `sample_futures` and `log_prob` use this discount; `at` changes
      it.
    - `low`, `high`: The ends of the range, $0 \le$ `low` $<$ `high` $< 1$.

    The flow may take further conditions, such as the z of a [`FamilySuccessor`][floqzoo.successor.FamilySuccessor],
    which precede the condition on $\log h$. Every method takes them after its other positional arguments.

    **Raises** `ValueError` if the range is invalid or does not contain the discount of the measure, or if the measure
    uses a `MonteCarloTarget`, because all futures in a batch have the same discount.

    Source: our own extension of TD-Flow (arXiv 2503.09817), which trains one model for each discount.
    """

    measure: FlowSuccessor
    low: Hyperparameter = eqx.field(converter=hyperparameter, default=0.5)
    high: Hyperparameter = eqx.field(converter=hyperparameter, default=0.99)

    def __check_init__(self):
        if isinstance(self.measure.target_rule, MonteCarloTarget):
            raise ValueError("`measure.target_rule` must not be a MonteCarloTarget, whose futures have one discount.")
        require("high", self.high, lambda value: (value > 0) & (value < 1), "in (0, 1)")
        if not isinstance(self.high.stored, Tracer):
            high = np.asarray(self.high.stored)
            require("low", self.low, lambda value: (value >= 0) & (value < high), f"in [0, {high!s}), below `high`")
        _require_within("discount", self.measure.discount, self.low, self.high)

    @property
    def discount(self) -> Hyperparameter:
        """The discount that `sample_futures` and `log_prob` use."""
        return self.measure.discount

    @property
    def future_kind(self) -> FutureKind:
        """The kind of the futures."""
        return self.measure.future_kind

    @property
    def next_action(self) -> NextAction:
        """The source of next actions of the measure."""
        return self.measure.next_action

    def at(self, discount: Number) -> "DiscountRangeSuccessor":
        """Returns a copy whose `sample_futures` and `log_prob` use this discount.

        **Raises** `ValueError` if the discount is outside the range.
        """
        return replace(self, measure=replace(self.measure, discount=discount))

    def sample_futures(
        self, observation: Observation, action: Action, count: int, key: Key, *conditions: Condition
    ) -> Float[Array, "count observation"]:
        """Draws `count` future observations, in the units of the observation."""
        conditions = *conditions, self._condition(self.discount.value)
        return self.measure.sample_futures(observation, action, count, key, *conditions)

    def log_prob(
        self, future: Observation, observation: Observation, action: Action, *conditions: Condition, **options: Any
    ) -> Scalar:
        """Returns the log-density of a future observation; `options` are passed to `FlowSuccessor.log_prob`."""
        conditions = *conditions, self._condition(self.discount.value)
        return self.measure.log_prob(future, observation, action, *conditions, **options)

    def composed_futures(
        self,
        observation: Observation,
        action: Action,
        count: int,
        key: Key,
        *conditions: Condition,
        first: Number,
        actor: Any,
    ) -> Float[Array, "count observation"]:
        r"""Draws futures for the discount $\gamma$ in two stages, the first with a discount $\beta \le \gamma$.

        Each future starts from a state $x \sim m_\beta(\cdot \mid s, a)$. With probability $(1 - \gamma) / (1 -
        \beta)$, the future is $x$. Otherwise, it is a sample of $m_\gamma(\cdot \mid x, a')$, where the actor chooses
        $a'$ at $x$. If the actor is the policy whose measure was learnt, these futures have the same distribution as
        those of `sample_futures`.

        - `first`: The discount $\beta$ of the first stage, in [`low`, $\gamma$], where $\gamma$ is `discount`.
        - `actor`: An agent, or its `ActorCritic`.

        **Raises** `ValueError` if `first` is below `low` or above $\gamma$.

        Source: geometric policy composition (arXiv 2206.08736); gamma-models (arXiv 2010.14496).
        """
        short, gamma = self.at(first), self.discount
        _require_within("first", short.discount, self.low, gamma)
        first_key, choice_key, action_key, second_key = jax.random.split(key, 4)
        states = short.sample_futures(observation, action, count, first_key, *conditions)

        def further(state: Observation, action_key: Key, key: Key) -> Observation:
            return self.sample_futures(state, actor.act(state, action_key), 1, key, *conditions)[0]

        later = jax.vmap(further)(states, jax.random.split(action_key, count), jax.random.split(second_key, count))
        stays = jax.random.uniform(choice_key, (count, 1)) < (1 - gamma.value) / (1 - short.discount.value)
        return jnp.where(stays, states, later)

    def successor_loss(
        self,
        batch: Transition,
        target: "DiscountRangeSuccessor",
        agent: FrozenAgent,
        key: Key,
        *conditions: Float[Array, "batch _"],
    ) -> tuple[Scalar, SuccessorMetrics]:
        """Returns the loss, averaged over the batch, and the metrics.

        The metrics `one_step_loss` and `bootstrap_loss` are averages over the batch without the weights
        $1 - \\gamma$ and $\\gamma$.

        **Raises** the errors of `FlowSuccessor.row_losses`.
        """
        discount_key, loss_key = jax.random.split(key)
        shares = jax.random.uniform(discount_key, batch.reward.shape)
        discounts = 1 - (1 - self.low.value) ** (1 - shares) * (1 - self.high.value) ** shares
        conditions = *conditions, 2 * shares[:, None] - 1
        one_step, bootstrap = self.measure.row_losses(batch, target.measure, agent, loss_key, *conditions)
        loss = jnp.mean((1 - discounts) * one_step + discounts * bootstrap)
        return loss, SuccessorMetrics(loss, jnp.mean(one_step), jnp.mean(bootstrap))

    def _condition(self, discount: Scalar) -> Float[Array, "1"]:
        """The log-horizon, scaled from the range to [-1, 1]."""
        low, high = -jnp.log1p(-self.low.value), -jnp.log1p(-self.high.value)
        return jnp.reshape(2 * (-jnp.log1p(-discount) - low) / (high - low) - 1, (1,))


def _require_within(name: str, discount: Hyperparameter, low: Hyperparameter, high: Hyperparameter) -> None:
    if not any(isinstance(bound.stored, Tracer) for bound in (low, high)):
        ends = np.asarray(low.stored), np.asarray(high.stored)
        require(name, discount, lambda value: (value >= ends[0]) & (value <= ends[1]), f"in [{ends[0]!s}, {ends[1]!s}]")
