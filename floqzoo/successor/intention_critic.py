"""InFOM's critic, which learns an upper expectile of successor-measure values over intentions."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.critics.level_loss import ExpectileLoss
from floqzoo.critics.q_ensemble import QEnsemble
from floqzoo.critics.td_targets import MinOverEnsemble
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.protocols import Aggregation, RewardModel, require_protocol
from floqzoo.records import FrozenAgent, FutureKind, Transition
from floqzoo.scopes import update_step
from floqzoo.successor.intentions import IntentionMetrics, IntentionSuccessor
from floqzoo.successor.reward_model import reward_model
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class PretrainingMetrics(eqx.Module):
    """The metrics of an `IntentionCritic` during pre-training.

    - `critic_loss`: The loss of the successor measure.
    - `occupancy`: The metrics of the successor measure.
    """

    critic_loss: Scalar
    occupancy: IntentionMetrics


class IntentionCriticMetrics(eqx.Module):
    """The metrics of an `IntentionCritic` during fine-tuning.

    - `critic_loss`: `q_loss` + `reward_loss` + the loss of the successor measure.
    - `occupancy`: The metrics of the successor measure.
    - `q_loss`: The expectile loss of Q, averaged over members and batch.
    - `reward_loss`: The squared error of the reward model.
    - `target_mean`: The mean of the targets on which Q is trained.
    - `q_mean`, `q_max`, `q_min`: Mean, maximum and minimum of Q over batch and members.
    """

    critic_loss: Scalar
    occupancy: IntentionMetrics
    q_loss: Scalar
    reward_loss: Scalar
    target_mean: Scalar
    q_mean: Scalar
    q_max: Scalar
    q_min: Scalar


class IntentionCritic(eqx.Module):
    r"""A critic that learns Q by implicit generalised policy improvement over the intentions in a dataset.

    For an intention z drawn from the prior, $\hat Q_z(s, a) = \frac{1}{1 - \gamma} \frac1N \sum_i \hat r(x_i)$
    estimates the value of the policy with that intention from N futures $x_i \sim m(\cdot \mid s, a, z)$ and a reward
    model $\hat r$. Q is trained to predict an upper expectile of $\hat Q_z$ over z. For an ensemble of $E$ Q-functions
    and a batch of $B$ transitions, the loss is

    $$\frac1{EB} \sum_{e, b} \left| \kappa - 1[u < 0] \right| u^2, \quad u = \hat Q_z(s, a) - Q_e(s, a),
    \quad z \sim N(0, I),$$

    where the expectile takes the place of a maximum over intentions. There is no Bellman backup: targets are computed
    with the measure and the reward model before the update, and use neither the `discount` of transitions nor a target
    critic. The target network of the measure is used only in the loss of the measure.

    One z is drawn for each transition and shared by the N futures of the transition, as in the official code since May
    2026. Earlier versions, with which the published scores were measured, drew a separate z for each future, so Q was
    an expectile of means over intentions.

    - `networks`: The ensemble of Q-functions $Q_1, \dots, Q_E$.
    - `measure`: The successor measure of the intentions. If the wrapped `FlowSuccessor` has `from_current` set, the
      return starts with the reward of the current state, and otherwise with that of the next state.
    - `reward`: The reward of a state: a function of the observation, or a `LearntReward`.
    - `expectile`: $\kappa$ in (0, 1); 0.5 gives the mean over intentions.
    - `num_futures`: The number N of futures for each target, at least 1.
    - `aggregation`: How the members are aggregated in `score`.

    **Raises** `ValueError` if a number is out of range, and `TypeError` if `aggregation` is not an `Aggregation`.

    Source: InFOM (arXiv 2506.08902) and its official code.
    """

    networks: QEnsemble
    measure: IntentionSuccessor
    reward: RewardModel = eqx.field(converter=reward_model)
    expectile: Hyperparameter = eqx.field(converter=hyperparameter, default=0.95)
    num_futures: int = eqx.field(static=True, default=16)
    aggregation: Aggregation | Any = MinOverEnsemble()

    def __check_init__(self):
        require_protocol("aggregation", self.aggregation, Aggregation)
        require("expectile", self.expectile, lambda value: (value > 0) & (value < 1), "in (0, 1)")
        if self.num_futures < 1:
            raise ValueError(f"`num_futures` must be at least 1; got {self.num_futures}.")

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns Q(s, a), aggregated over members."""
        return self.aggregation.aggregate(self.networks.values(observation, action))

    @property
    def future_kind(self) -> FutureKind:
        """The kind of the futures of `measure`."""
        return self.measure.future_kind

    def predict_futures(
        self,
        observation: Observation,
        action: Action,
        states: Float[Array, "states observation"],
        count: int,
        key: Key,
    ) -> Float[Array, "count observation"]:
        """Draws `count` futures from `measure`, each with a separate intention."""
        del states
        draw = partial(self.measure.sample_futures, observation, action, 1)
        return jax.vmap(lambda key: draw(key)[0])(jax.random.split(key, count))

    def pretraining_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, PretrainingMetrics]:
        """Returns the loss of the measure, and the metrics.

        Rewards are not used, and Q and the reward model receive no gradient. This loss can therefore be the critic loss
        of a [`JointUpdate`][floqzoo.update_rules.JointUpdate] in a phase without rewards.
        """
        loss, metrics = self.measure.successor_loss(batch, agent.target.critic.measure, agent, key)
        return loss, PretrainingMetrics(loss, metrics)

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, IntentionCriticMetrics]:
        """Returns the sum of the losses of Q, the reward model and the measure, and the metrics."""
        measure_key, target_key = jax.random.split(key)
        with update_step("targets"):
            target = agent.critic.values_of(batch, target_key)
        q = self.networks.batch_values(batch.observation, batch.action)
        q_loss = jnp.mean(ExpectileLoss().losses(target[None] - q, jnp.asarray(self.expectile.value)))
        reward_loss = self.reward.reward_loss(batch)
        occupancy_loss, metrics = self.measure.successor_loss(batch, agent.target.critic.measure, agent, measure_key)
        loss = q_loss + reward_loss + occupancy_loss
        ranges = [reduce(q) for reduce in (jnp.mean, jnp.max, jnp.min)]
        return loss, IntentionCriticMetrics(loss, metrics, q_loss, reward_loss, jnp.mean(target), *ranges)

    def values_of(self, batch: Transition, key: Key) -> Float[Array, " batch"]:
        r"""Returns an estimate $\hat Q_z(s, a)$ for each transition, with a separate z for each."""

        def value(observation: Observation, action: Action, key: Key) -> Scalar:
            futures = self.measure.sample_futures(observation, action, self.num_futures, key)
            return jnp.mean(jax.vmap(self.reward.reward_of)(futures)) / (1 - self.measure.discount.value)

        keys = jax.random.split(key, batch.reward.shape[0])
        return jax.vmap(value)(batch.observation, batch.action, keys)
