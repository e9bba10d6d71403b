"""Generalised policy improvement (GPI): the best of several policies at every step."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.protocols import Critic, NoisyCritic, Policy
from floqzoo.records import FrozenAgent, Transition
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class GPIPolicy(eqx.Module):
    r"""Acts with the best of several policies at every step.

    $$\pi(s) = \pi_{i^*}(s), \qquad i^* = \operatorname{arg\,max}_i Q^{\pi_i}(s, \pi_i(s)).$$

    With exact critics, $\pi$ is at least as good as each of the policies.

    With a [`SuccessorCritic`][floqzoo.successor.SuccessorCritic] for each policy's successor measure, a new reward
    function requires no retraining, because each value is the mean reward over sampled futures (128 by default),
    divided by $1 - \gamma$.

    - `policies`: One or more policies.
    - `critics`: One critic for each policy. The policy's return is estimated by the critic's `value` if the critic has
      this method, and by its `score` otherwise. Each policy acts with its own critic.

    **Raises** `ValueError` if there is no policy, or if the numbers of policies and critics differ.

    Source: GPI (arXiv 1606.05312), and TD-Flow (arXiv 2503.09817), section 5, for GPI with flows.
    """

    policies: tuple[Policy, ...]
    critics: tuple[Critic, ...]

    def __check_init__(self):
        if not self.policies:
            raise ValueError("`policies` must have at least one policy; got none.")
        if len(self.critics) != len(self.policies):
            raise ValueError(
                f"`critics` must have {len(self.policies)} entries, one for each policy; got {len(self.critics)}."
            )

    def act(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Draws an action from each policy and returns the one with the highest value.

        The critic of the agent is not used.
        """
        del critic
        action_key, value_key = jax.random.split(key)
        actions = self._actions(observation, action_key)
        return actions[jnp.argmax(self._values(observation, actions, value_key))]

    def values(self, observation: Observation, key: Key) -> Float[Array, " policies"]:
        """Returns the value of each policy's action; `act` compares these values if it is called with the same key."""
        action_key, value_key = jax.random.split(key)
        return self._values(observation, self._actions(observation, action_key), value_key)

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, None]:
        """Returns a loss of 0, and None in place of metrics, because policies and critics are trained elsewhere."""
        del batch, agent, key
        return jnp.zeros(()), None

    def _actions(self, observation: Observation, key: Key) -> Float[Array, "policies action"]:
        keys = jax.random.split(key, len(self.policies))
        return jnp.stack(
            [
                policy.act(observation, critic, k)
                for policy, critic, k in zip(self.policies, self.critics, keys, strict=True)
            ]
        )

    def _values(
        self, observation: Observation, actions: Float[Array, "policies action"], key: Key
    ) -> Float[Array, " policies"]:
        keys = jax.random.split(key, len(self.critics))
        rows = zip(self.critics, actions, keys, strict=True)
        return jnp.stack([_value(critic, observation, action, k) for critic, action, k in rows])


def _value(critic: Critic, observation: Observation, action: Action, key: Key) -> Scalar:
    if isinstance(critic, NoisyCritic):
        return critic.value(observation, action, key)
    return critic.score(observation, action)
