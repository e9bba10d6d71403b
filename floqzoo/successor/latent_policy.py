"""A deterministic policy for each task of a forward-backward representation."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.critics.rebrac_critic import SmoothingNoise
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.policies.normalised_q import inverse_size
from floqzoo.policies.policy_with_mode import PolicyWithMode
from floqzoo.protocols import Critic
from floqzoo.records import FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class LatentPolicyMetrics(eqx.Module):
    """The metrics of a `LatentPolicy` on a batch.

    - `actor_loss`: `q_loss` + alpha * `bc_loss`.
    - `q_loss`: The negative mean score of the policy's actions, divided by the mean absolute score. Each action is
      scored for the z for which it was chosen.
    - `bc_loss`: Half the squared distance between the actions of the policy and of the data, summed over coordinates
      and averaged over the batch.
    - `q`: The mean score of the policy's actions.
    """

    actor_loss: Scalar
    q_loss: Scalar
    bc_loss: Scalar
    q: Scalar


class LatentPolicy(PolicyWithMode):
    r"""A policy $\pi_z(s) = \tanh f(s, z)$ for each task z, trained to maximise the critic's score for z.

    The loss is

    $$-\frac{1}{\overline{|Q|}} \mathbb E_{s, a, z} \, Q_z(s, \pi_z(s) + \epsilon)
    + \frac\alpha2 \mathbb E \lVert \pi_z(s) - a \rVert^2,$$

    where $\epsilon$ is smoothing noise. The noisy action is clipped to [-1, 1], but the gradient ignores the clipping.
    $\overline{|Q|}$ is the mean absolute score in the batch, treated as a constant. Dividing by it makes the best alpha
    independent of the scale of the scores. Each z is drawn from the same distribution as in the critic's loss, but
    independently.

    - `network`: Maps two vectors, the concatenation $(s, z)$ and the state $s$, to the action before tanh, as an
      [`EmbeddingNetwork`][floqzoo.networks.EmbeddingNetwork] does.
    - `latent`: The z that `act` uses, on the sphere of radius $\sqrt d$. It may be 0 until `infer_task` sets it.
    - `alpha`: The weight $\alpha$ of the squared distance from the actions in the data, at least 0.
    - `noise`: The smoothing noise in the loss, which is also the exploration noise.

    The agent's critic must [score any z][floqzoo.protocols.ScoresForLatent], as a `ForwardBackward` does.

    **Raises** `ValueError` if a number is out of range.

    Source: the official code of metamotivo, which has no second term (alpha is 0, in which case the division does not
    affect the steps of Adam). The second term is taken from InFOM's FB, and the division from TD3+BC (arXiv
    2106.06860).
    """

    network: Any
    latent: Hyperparameter = eqx.field(converter=hyperparameter)
    alpha: Hyperparameter = eqx.field(converter=hyperparameter, default=0.0)
    noise: SmoothingNoise = SmoothingNoise(0.2, 0.3)

    def __check_init__(self):
        require("latent", self.latent, np.isfinite, "finite")
        require("alpha", self.alpha, lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")

    def act_for(self, observation: Observation, latent: Float[Array, " latent"]) -> Action:
        """Returns the action for the task z, without noise."""
        return jnp.tanh(self.network(jnp.concatenate([observation, latent]), observation))

    def mode(self, observation: Observation) -> Action:
        """Returns the action for the task `latent`, without noise."""
        return self.act_for(observation, jnp.asarray(self.latent.value))

    def explore(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Returns the action for the task `latent`, with exploration noise."""
        del critic
        return self.noise.add(self.act_for(observation, jnp.asarray(self.latent.value)), key)

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, LatentPolicyMetrics]:
        """Returns the sum of both terms, averaged over the batch, and the metrics."""
        latent_key, noise_key = jax.random.split(key)
        with update_step("latents"):
            z = agent.critic.sample_latents(batch.next_observation, latent_key)
        mean = jax.vmap(self.act_for)(batch.observation, z)
        action = mean + jax.lax.stop_gradient(self.noise.add(mean, noise_key) - mean)
        with update_step("q"):
            q = jax.vmap(agent.critic.score_for)(batch.observation, action, z)
            q_loss = -jnp.mean(q) * inverse_size(q)
        bc_loss = 0.5 * jnp.mean(jnp.sum((mean - batch.action) ** 2, axis=1))
        loss = q_loss + self.alpha.value * bc_loss
        return loss, LatentPolicyMetrics(loss, q_loss, bc_loss, jnp.mean(q))
