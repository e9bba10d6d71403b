"""A critic for policies that act with a variable number of solver steps."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.flow.step_counts import draw_step_count, require_power_of_two
from floqzoo.protocols import ActsInSteps, Critic, require_protocol
from floqzoo.records import ActorCritic, FrozenAgent, Stateful, StepCount, Transition
from floqzoo.typing import Action, Array, Key, Metrics, Observation, Scalar


class StepConditionedCritic(eqx.Module):
    r"""A critic $Q(s, a, k)$ that also takes the number $k$ of solver steps with which the policy acts.

    The number $k$ is appended to every observation that the wrapped critic takes. Each update draws one $k \in \{1, 2,
    4, \dots, k_{\max}\}$ for the whole batch. The wrapped critic is trained on $(s, k)$ and $(s', k)$, and bootstraps
    from actions that the policy $\pi_k$ computes in $k$ steps. For example, the loss of a wrapped `MonolithicCritic` is
    the mean over members and batch of

    $$\bigl(Q_e(s, a, k) - r - \gamma \, \text{discount} \cdot \operatorname{agg}_e \bar Q_e(s', a', k)\bigr)^2,
    \qquad a' \sim \pi_k(s').$$

    If the agent's policy [acts in steps][floqzoo.protocols.ActsInSteps], $\pi_k$ is that policy. Otherwise, it is the
    policy's `behaviour` if the behaviour acts in steps, such as the `ShortcutPolicy` in a `BestOfNPolicy`. If neither
    does, the agent's policy acts as usual, independently of $k$.

    - `critic`: The wrapped critic, built for observations with one additional coordinate.
    - `num_steps`: The number of steps $k$ for which `score` is computed, a power of two and at most `max_steps`. It
      should be the number of steps that the policy takes when it acts.
    - `max_steps`: $k_{\max}$, a power of two.

    **Raises** `TypeError` if `critic` is not a critic, and `ValueError` if a number is out of range.

    Source: SORL (arXiv 2505.22866), official code, where $k_{\max} = 8$.
    """

    critic: Critic | Any
    num_steps: int = eqx.field(static=True, default=8)
    max_steps: int = eqx.field(static=True, default=8)

    def __check_init__(self):
        require_protocol("critic", self.critic, Critic)
        require_power_of_two("max_steps", self.max_steps)
        require_power_of_two("num_steps", self.num_steps)
        if self.num_steps > self.max_steps:
            raise ValueError(f"`num_steps` must be at most `max_steps`, {self.max_steps}; got {self.num_steps}.")

    @property
    def draws_once_per_batch(self) -> bool:
        """Whether each update draws one number of steps that all rows of the batch share."""
        return self.max_steps > 1

    def score(self, observation: Observation, action: Action) -> Scalar:
        """Returns the score of the wrapped critic for `num_steps` steps."""
        return self.score_in_steps(observation, action, StepCount.known(self.num_steps))

    def score_in_steps(self, observation: Observation, action: Action, steps: StepCount) -> Scalar:
        """Returns the score of the wrapped critic for the given number of steps."""
        return self.critic.score(with_steps(observation, steps), action)

    def critic_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Metrics | Stateful]:
        """Returns the loss and metrics of the wrapped critic, with one random number of steps for the whole batch."""
        steps_key, loss_key = jax.random.split(key)
        steps = draw_step_count(steps_key, self.max_steps)
        conditioned = batch.with_observations(lambda observation: with_steps(observation, steps))
        target = ActorCritic(agent.target.critic.critic, agent.target.policy)
        inside = FrozenAgent(agent.critic.critic, agent.policy, target, agent.step).with_policies(
            lambda policy: _PolicyInSteps(policy, agent.critic, steps)
        )
        loss, metrics = self.critic.critic_loss(conditioned, inside, loss_key)
        if isinstance(metrics, Stateful):
            metrics = Stateful(metrics.metrics, eqx.tree_at(lambda critic: critic.critic, self, metrics.part))
        return loss, metrics


class _PolicyInSteps(eqx.Module):
    """A policy that acts in `steps` solver steps, for observations with the number of steps as the last coordinate."""

    policy: Any
    critic: Any
    steps: StepCount

    def act(self, observation: Observation, critic: Any, key: Key) -> Action:
        """The policy's action for the observation without its last coordinate; `critic` is not used, since it takes
        observations with that coordinate."""
        del critic
        behaviour = getattr(self.policy, "behaviour", None)
        for policy in (self.policy, behaviour):
            if isinstance(policy, ActsInSteps):
                return policy.act_in_steps(observation[:-1], self.critic, key, self.steps)
        return self.policy.act(observation[:-1], self.critic, key)


def with_steps(observation: Float[Array, "*batch observation"], steps: StepCount) -> Float[Array, "*batch more"]:
    """Appends the number of steps to an observation, or to each observation of a batch, as the last coordinate."""
    observation = jnp.asarray(observation)
    number = jnp.asarray(steps.value, observation.dtype)
    return jnp.concatenate([observation, jnp.broadcast_to(number, (*observation.shape[:-1], 1))], axis=-1)
