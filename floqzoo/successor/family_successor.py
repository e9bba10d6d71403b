"""Successor measures of a family of policies, and the values of these policies for any reward."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Float

from floqzoo.hyperparameter import Hyperparameter, hyperparameter
from floqzoo.policies.fixed_policy import FixedPolicy
from floqzoo.protocols import ActsForLatent, ScoresForLatent
from floqzoo.records import FrozenAgent, FutureKind, Transition
from floqzoo.scopes import update_step
from floqzoo.successor.discount_range import DiscountRangeSuccessor
from floqzoo.successor.flow_successor import FlowSuccessor, SuccessorMetrics
from floqzoo.successor.successor_critic import SuccessorCritic
from floqzoo.successor.targets import MonteCarloTarget
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class FamilySuccessor(eqx.Module):
    r"""The successor measures $m(\cdot \mid s, a, z)$ of policies $\pi_z$, as one flow that takes z as an input.

    The flow is trained with the loss of [`FlowSuccessor`][floqzoo.successor.FlowSuccessor], with a separate z for each
    transition:

    $$\mathbb E_z \left[ (1 - \gamma) \tfrac1d \lVert v_\theta(t, x_t \mid s, a, z) - \dot x_t \rVert^2
    + \gamma \tfrac1d \lVert v_\theta(t, \hat x_t \mid s, a, z) - \hat u_t \rVert^2 \right],$$

    where the target flow at $(s', \pi_z(s'))$ takes the same z. Each z is drawn from the distribution that was used to
    train the family.

    - `measure`: A `FlowSuccessor`, or a [`DiscountRangeSuccessor`][floqzoo.successor.DiscountRangeSuccessor], whose
      flow takes one further condition, z. Its `next_action` is not used.
    - `family`: The trained policies: a [`FixedPolicy`][floqzoo.policies.FixedPolicy] whose policy
      [acts for any z][floqzoo.protocols.ActsForLatent] and whose critic [draws z's][floqzoo.protocols.ScoresForLatent],
      such as the policy and the critic of a trained FB agent.
    - `latent`: The z that `sample_futures` and `log_prob` use; `at` changes it.

    **Raises** `ValueError` if the policy of `family` is not an `ActsForLatent`, if its critic is not a
    `ScoresForLatent`, or if the measure uses a `MonteCarloTarget`, because the futures in a batch are those of the
    behaviour policy.

    Source: TD-Flow (arXiv 2503.09817), section 5.
    """

    measure: FlowSuccessor | DiscountRangeSuccessor
    family: FixedPolicy
    latent: Hyperparameter = eqx.field(converter=hyperparameter)

    def __check_init__(self):
        if isinstance(self.measure, FlowSuccessor) and isinstance(self.measure.target_rule, MonteCarloTarget):
            raise ValueError(
                "`measure.target_rule` must not be a MonteCarloTarget, whose futures are those of the data."
            )
        parts = self.family.parts
        if not isinstance(parts.policy, ActsForLatent) or not isinstance(parts.critic, ScoresForLatent):
            raise ValueError(
                "`family` must be a FixedPolicy with a policy for each z and a critic that draws z's, such as those of "
                f"FB; got {type(parts.policy).__name__} and {type(parts.critic).__name__}."
            )

    @property
    def discount(self) -> Hyperparameter:
        """The discount of the measure."""
        return self.measure.discount

    @property
    def future_kind(self) -> FutureKind:
        """The kind of the futures."""
        return self.measure.future_kind

    def at(self, latent: Float[Array, " latent"] | Hyperparameter) -> "FamilySuccessor":
        """Returns a copy whose `sample_futures` and `log_prob` use this z."""
        return replace(self, latent=latent)

    def sample_futures(
        self, observation: Observation, action: Action, count: int, key: Key
    ) -> Float[Array, "count observation"]:
        """Draws `count` future observations under $\\pi_z$, in the units of the observation."""
        return self.measure.sample_futures(observation, action, count, key, self.latent.value)

    def log_prob(self, future: Observation, observation: Observation, action: Action, **options: Any) -> Scalar:
        """Returns the log-density of a future observation; `options` are passed to `FlowSuccessor.log_prob`."""
        return self.measure.log_prob(future, observation, action, self.latent.value, **options)

    def successor_loss(
        self, batch: Transition, target: "FamilySuccessor", agent: FrozenAgent, key: Key
    ) -> tuple[Scalar, SuccessorMetrics]:
        """Returns the loss, averaged over the batch, and the metrics. The policy of the agent is not used.

        **Raises** the errors of `FlowSuccessor.row_losses`.
        """
        latent_key, loss_key = jax.random.split(key)
        own = self.family.parts
        with update_step("latents"):
            z = own.critic.sample_latents(jax.vmap(own.normalised)(batch.next_observation), latent_key)
        measure = eqx.tree_at(lambda measure: measure.next_action, self.measure, _ActionsFor(self.family, z))
        return measure.successor_loss(batch, target.measure, agent, loss_key, z)


class FamilyValue(eqx.Module):
    r"""Estimates the value of an action under $\pi_z$, for any z.

    The value is the mean reward of sampled futures, divided by $1 - \gamma$.

    - `critic`: A [`SuccessorCritic`][floqzoo.successor.SuccessorCritic] of a `FamilySuccessor`.
    """

    critic: SuccessorCritic

    def __check_init__(self):
        self._measure()

    def _measure(self) -> FamilySuccessor:
        if not isinstance(self.critic.measure, FamilySuccessor):
            raise ValueError(f"`critic.measure` must be a FamilySuccessor; got {type(self.critic.measure).__name__}.")
        return self.critic.measure

    def __call__(self, observation: Observation, action: Action, latent: Float[Array, " latent"], key: Key) -> Scalar:
        """Returns the estimated value, computed from `critic.num_samples` futures, in units of return."""
        return replace(self.critic, measure=self._measure().at(latent)).value(observation, action, key)


class _ActionsFor(eqx.Module):
    """The actions of the policies of a family, one z for each transition."""

    family: FixedPolicy
    latents: Float[Array, "batch latent"]

    def next_actions(self, batch: Transition, agent: FrozenAgent, key: Key) -> Float[Array, "batch action"]:
        del agent, key
        own = self.family.parts
        observations = jax.vmap(own.normalised)(batch.next_observation)
        return jax.vmap(own.policy.act_for)(observations, self.latents)
