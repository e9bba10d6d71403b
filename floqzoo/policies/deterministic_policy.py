"""A deterministic policy that maximises Q and stays close to the data."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.critics.rebrac_critic import SmoothingNoise
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.policies.normalised_q import inverse_size
from floqzoo.policies.policy_with_mode import PolicyWithMode
from floqzoo.protocols import Critic, Network
from floqzoo.records import FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Key, Observation, Scalar


class DeterministicMetrics(eqx.Module):
    """The metrics of a deterministic policy on a batch.

    - `actor_loss`: `q_loss` + alpha * `bc_loss`.
    - `q_loss`: Minus the mean score, divided by the mean absolute score.
    - `bc_loss`: The squared distance between the policy's actions and the data's, summed over coordinates.
    - `q`: The mean score of the policy's actions.
    """

    actor_loss: Scalar
    q_loss: Scalar
    bc_loss: Scalar
    q: Scalar


class DeterministicPolicy(PolicyWithMode):
    r"""A deterministic policy $\pi(s) = \tanh f(s)$, trained to maximise Q while staying close to the data.

    The loss is

    $$-\frac{1}{\overline{|Q|}} \, \mathbb E \, Q(s, \pi(s)) + \alpha \, \mathbb E \lVert \pi(s) - a \rVert^2,$$

    where $\overline{|Q|}$ is the mean absolute score in the batch, treated as a constant.

    - `network`: The network $f$, which maps an observation to the action before tanh.
    - `alpha`: The weight $\alpha$ of the penalty on the distance from the data, at least 0; ReBRAC tunes it for each
      environment.
    - `noise`: The exploration noise, which is added to the actions during online training.

    Source: ReBRAC (arXiv 2305.09836) and TD3+BC (arXiv 2106.06860); sums and means as in the official code of FQL.
    """

    network: Network | Any
    alpha: Hyperparameter = eqx.field(converter=hyperparameter, default=0.1)
    noise: SmoothingNoise = SmoothingNoise()

    def __check_init__(self):
        require("alpha", self.alpha, lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")

    def mode(self, observation: Observation) -> Action:
        """Returns the action without noise."""
        return jnp.tanh(self.network(observation))

    def explore(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Returns the action with exploration noise; the critic is not used."""
        del critic
        return self.noise.add(self.mode(observation), key)

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, DeterministicMetrics]:
        """Returns the loss, averaged over the batch, and its metrics; the key is not used."""
        del key
        action = jax.vmap(self.mode)(batch.observation)
        with update_step("q"):
            q = jax.vmap(agent.critic.score)(batch.observation, action)
            q_loss = -jnp.mean(q) * inverse_size(q)
        errors, weights = (action - batch.action) ** 2, batch.action_weights
        bc_loss = jnp.mean(jnp.sum(errors if weights is None else weights * errors, axis=1))
        loss = q_loss + self.alpha.value * bc_loss
        return loss, DeterministicMetrics(loss, q_loss, bc_loss, jnp.mean(q))
