"""A critic that computes values from a successor measure."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.protocols import HasFutureKind, RewardModel, SuccessorMeasure
from floqzoo.records import FrozenAgent, FutureKind, Transition
from floqzoo.successor.reward_model import reward_model
from floqzoo.typing import Action, Array, Key, Metrics, Observation, Scalar


class ValueEstimate(eqx.Module):
    """A mean over samples, and its standard error."""

    mean: Scalar
    standard_error: Scalar


class SuccessorCriticMetrics(eqx.Module):
    """The metrics of a `SuccessorCritic` on a batch: the metrics of the measure, the total loss, and the loss of the
    reward model."""

    measure: Metrics
    critic_loss: Scalar
    reward_loss: Scalar


class SuccessorCritic(eqx.Module):
    r"""A critic that computes values from samples of a successor measure,
    $Q(s, a) = \frac{1}{1 - \gamma} \mathbb E_{X \sim m(\cdot \mid s, a)} [r(X)]$.

    The return starts with the reward of the next state, $Q = \mathbb E \sum_{k \ge 0} \gamma^k r(s_{k+1})$. If rewards
    are functions of the current state, the return is $r(s) + \gamma Q$, and the best action is the same.

    - `measure`: A successor measure, which also defines the discount. For `score`, its samples must be differentiable
      with respect to the action.
    - `reward`: The reward of a state: a function of the observation, or a `LearntReward`, which is trained together
      with the measure.
    - `num_samples`: The number of samples from which `value` is computed, at least 2; TD-Flow uses 128.
    - `num_score_samples`: The number of samples from which `score` is computed, at least 1. Their noise is fixed, so
      that the score is a differentiable function of the action. The default of 8 is our choice, a trade-off between
      cost and a bias of the order of one standard error.

    **Raises** `ValueError` if `num_samples` or `num_score_samples` is too small.

    Source: TD-Flow (arXiv 2503.09817), section 5.
    """

    measure: SuccessorMeasure
    reward: RewardModel = eqx.field(converter=reward_model)
    num_samples: int = eqx.field(static=True, default=128)
    num_score_samples: int = eqx.field(static=True, default=8)

    def __check_init__(self):
        for name, least in (("num_samples", 2), ("num_score_samples", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}; got {getattr(self, name)}.")

    def value(self, observation: Observation, action: Action, key: Key) -> Scalar:
        """Estimates Q(s, a) as a mean over `num_samples` samples, in units of return."""
        return jnp.mean(self._returns(observation, action, self.num_samples, key))

    def estimate(self, observation: Observation, action: Action, key: Key) -> ValueEstimate:
        """Returns the value and its standard error over samples, which does not include the error of the measure."""
        returns = self._returns(observation, action, self.num_samples, key)
        return ValueEstimate(jnp.mean(returns), jnp.std(returns, ddof=1) / self.num_samples**0.5)

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Estimates Q(s, a) as a mean over `num_score_samples` samples from fixed noise."""
        return jnp.mean(self._returns(observation, action, self.num_score_samples, jax.random.key(0)))

    @property
    def future_kind(self) -> FutureKind:
        """The kind of the futures of `measure`."""
        measure = self.measure
        return measure.future_kind if isinstance(measure, HasFutureKind) else FutureKind(measure.discount)

    def predict_futures(
        self,
        observation: Observation,
        action: Action,
        states: Float[Array, "states observation"],
        count: int,
        key: Key,
    ) -> Float[Array, "count observation"]:
        """Draws `count` futures from `measure`."""
        del states
        return self.measure.sample_futures(observation, action, count, key)

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, SuccessorCriticMetrics]:
        """Returns the loss of the measure plus the loss of the reward model, and the metrics."""
        successor_loss, metrics = self.measure.successor_loss(batch, agent.target.critic.measure, agent, key)
        reward_loss = self.reward.reward_loss(batch)
        loss = successor_loss + reward_loss
        return loss, SuccessorCriticMetrics(metrics, loss, reward_loss)

    def _returns(self, observation: Observation, action: Action, count: int, key: Key) -> Float[Array, " count"]:
        futures = self.measure.sample_futures(observation, action, count, key)
        return jax.vmap(self.reward.reward_of)(futures) / (1 - self.measure.discount.value)
