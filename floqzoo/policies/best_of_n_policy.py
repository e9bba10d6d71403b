"""Best-of-N sampling: among N candidate actions, take the one with the highest Q-value."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from floqzoo.protocols import Critic, NoisePrior, Policy, require_protocol
from floqzoo.records import FrozenAgent, Stateful, Transition
from floqzoo.typing import Action, Array, Key, Metrics, Observation, Scalar


class BestOfNPolicy(eqx.Module):
    r"""Takes the best of $N$ actions $a_i$ of a behaviour policy, $\pi(s) = \operatorname{arg\,max}_{a_i} Q(s, a_i)$.

    Only the behaviour policy is trained. The critic selects the actions in the environment, and also in the TD targets
    of critics that bootstrap from this policy.

    - `behaviour`: Any policy that imitates the data, such as a `BehaviourFlow`.
    - `num_samples`: $N$, at least 1; 32 in FQL's experiments with IFQL.

    **Raises** `TypeError` if `behaviour` is not a policy, `ValueError` if `num_samples` is below 1.

    Source: IDQL (arXiv 2304.10573), and IFQL as in FQL (arXiv 2502.02538), appendix E.
    """

    behaviour: Policy | Any
    num_samples: int = eqx.field(static=True, default=32)

    def __check_init__(self):
        require_protocol("behaviour", self.behaviour, Policy)
        if self.num_samples < 1:
            raise ValueError(f"`num_samples` must be at least 1; got {self.num_samples}.")

    def act(self, observation: Observation, critic: Critic, key: Key) -> Action:
        """Draws the candidates, and returns the one with the highest score."""
        return self._best(observation, critic, self.candidates(observation, critic, key))

    def candidates(self, observation: Observation, critic: Critic, key: Key) -> Float[Array, "candidates action"]:
        """Draws the candidates from which `act`, when called with the same key, selects an action."""
        keys = jax.random.split(key, self._num_draws)[: self.num_samples]
        return jax.vmap(lambda key: self.behaviour.act(observation, critic, key))(keys)

    @property
    def noise_prior(self) -> NoisePrior | None:
        """The noise prior of the behaviour policy, if it [acts from noise][floqzoo.protocols.ActsFromNoise]."""
        return self._from_noise.noise_prior

    def draw_noise(self, key: Key) -> Float[Array, "draws *noise"]:
        """Draws a noise sample for each candidate."""
        return jax.vmap(self._from_noise.draw_noise)(jax.random.split(key, self._num_draws))

    def act_from_noise(self, observation: Observation, critic: Critic, noise: Float[Array, "draws *noise"]) -> Action:
        """Computes a candidate from each noise sample, and returns the one with the highest score."""
        actions = jax.vmap(self._from_noise.act_from_noise, (None, None, 0))(observation, critic, noise)
        return self._best(observation, critic, actions)

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, Metrics | Stateful]:
        """Returns the loss of the behaviour policy and its metrics."""
        inside = agent.with_policies(lambda policy: policy.behaviour if isinstance(policy, BestOfNPolicy) else policy)
        loss, metrics = self.behaviour.policy_loss(batch, inside, key)
        if isinstance(metrics, Stateful):
            metrics = Stateful(metrics.metrics, eqx.tree_at(lambda policy: policy.behaviour, self, metrics.part))
        return loss, metrics

    @property
    def _num_draws(self) -> int:
        """The number of noise samples drawn for one action."""
        return self.num_samples

    @property
    def _from_noise(self) -> Any:
        """The behaviour policy, as `Any`, since some policies lack the methods for noise."""
        return self.behaviour

    def _best(self, observation: Observation, critic: Critic, actions: Float[Array, "candidates action"]) -> Action:
        return actions[jnp.argmax(jax.vmap(critic.score, (None, 0))(observation, actions))]
