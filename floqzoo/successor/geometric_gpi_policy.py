"""Planning with two policies of a family: a policy until a random switch, and the task's policy after it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.protocols import Critic, RewardModel
from floqzoo.records import FrozenAgent, Transition
from floqzoo.successor.family_successor import FamilySuccessor
from floqzoo.successor.reward_model import reward_model
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class GeometricGPIPolicy(eqx.Module):
    r"""At every step, evaluates plans that switch between two policies, and takes the first action of the best plan.

    The plan for z follows $\pi_z$ and, after each step, switches to the task's policy $\pi_{z_r}$ with probability
    $1 - \beta / \gamma$, for the rest of the episode. Its value is computed from the measures of both policies, one
    with a discount $\beta \le \gamma$ and the other with the discount $\gamma$ of the task:

    $$V_z(s) = \frac1{1 - \gamma} \left[ \frac{1 - \gamma}{1 - \beta} \mathbb E \, r(X)
    + \frac{\gamma - \beta}{1 - \beta} \mathbb E \, r(X') \right], \qquad
    X \sim m_\beta(\cdot \mid s, \pi_z(s), z), \quad X' \sim m_\gamma(\cdot \mid X, \pi_{z_r}(X), z_r).$$

    The policy is $\pi(s) = \pi_{z^*}(s)$ with $z^* = \operatorname{arg\,max}_{z \in Z} V_z(s)$, where $Z$ contains
    $z_r$ and the sub-goals. With exact values, $\pi$ is at least as good as each of the plans, one of which is
    $\pi_{z_r}$ itself. With $\beta = \gamma$, no plan switches, and $\pi$ performs GPI over $Z$. The values of all
    plans are estimated with the same noise samples. If several values are equal, the first plan is chosen, which is
    the plan for $z_r$.

    - `first`: A [`FamilySuccessor`][floqzoo.successor.FamilySuccessor] with the discount $\beta$.
    - `second`: A `FamilySuccessor` of the same family with the discount $\gamma$, at the task vector $z_r$ (`latent`).
    - `reward`: The reward $r$ of a state, as in a [`SuccessorCritic`][floqzoo.successor.SuccessorCritic].
    - `subgoals`: The other vectors in $Z$, one per row.
    - `num_samples`: The number of samples from which each value is estimated, at least 1.

    **Raises** `ValueError` if the discount of `first` is above that of `second`, if the sub-goals are not rows of the
    size of $z_r$ or not finite, or if `num_samples` is too small.

    Source: geometric GPI (arXiv 2206.08736), with plans of two policies of which the second is fixed.
    """

    first: FamilySuccessor | Any
    second: FamilySuccessor | Any
    reward: RewardModel = eqx.field(converter=reward_model)
    subgoals: Hyperparameter = eqx.field(converter=hyperparameter)
    num_samples: int = eqx.field(static=True, default=128)

    def __check_init__(self):
        if self.num_samples < 1:
            raise ValueError(f"`num_samples` must be at least 1; got {self.num_samples}.")
        size, shape = jnp.shape(self.second.latent.stored)[-1], jnp.shape(self.subgoals.stored)
        if len(shape) != 2 or shape[1] != size:
            raise ValueError(f"`subgoals` must be a matrix with rows of size {size}, that of z; got shape {shape}.")
        require("subgoals", self.subgoals, np.isfinite, "finite")
        discounts = [measure.discount.stored for measure in (self.first, self.second)]
        if not any(isinstance(discount, Tracer) for discount in discounts) and np.any(discounts[0] > discounts[1]):
            raise ValueError(
                f"`first` must have a discount of at most that of `second`, which is {discounts[1]!s}; "
                f"got {discounts[0]!s}."
            )

    def act(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Returns the first action of the best plan; the critic of the agent is not used."""
        del critic
        _, actions, values = self.candidates(observation, key)
        return actions[jnp.argmax(values)]

    def candidates(
        self, observation: Observation, key: Key
    ) -> tuple[Float[Array, "count latent"], Float[Array, "count action"], Float[Array, " count"]]:
        """Returns the vectors in $Z$, the first of which is $z_r$, and the first actions and values of their plans.

        `act`, called with the same key, returns the action with the highest value.
        """
        own = self.second.family.parts
        latents = jnp.concatenate([self.second.latent.value[None], self.subgoals.value])
        actions = jax.vmap(own.policy.act_for, in_axes=(None, 0))(own.normalised(observation), latents)
        values = jax.vmap(lambda action, z: self.plan_value(observation, action, z, key))(actions, latents)
        return latents, actions, values

    def plan_value(self, observation: Observation, action: Action, latent: Float[Array, " latent"], key: Key) -> Scalar:
        """Estimates the value of taking an action and then following the plan for z, in units of return."""
        own, task = self.second.family.parts, self.second.latent.value
        first_key, second_key = jax.random.split(key)

        def future_of_task(state: Observation, key: Key) -> Observation:
            action = own.policy.act_for(own.normalised(state), task)
            return self.second.sample_futures(state, action, 1, key)[0]

        states = self.first.at(latent).sample_futures(observation, action, self.num_samples, first_key)
        futures = jax.vmap(future_of_task)(states, jax.random.split(second_key, self.num_samples))
        before, after = (jnp.mean(jax.vmap(self.reward.reward_of)(each)) for each in (states, futures))
        beta, gamma = self.first.discount.value, self.second.discount.value
        return (before + (gamma - beta) / (1 - gamma) * after) / (1 - beta)

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, None]:
        """Returns a loss of 0, and None in place of metrics, because policies and measures are trained elsewhere."""
        del batch, agent, key
        return jnp.zeros(()), None
