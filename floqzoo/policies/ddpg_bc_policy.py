"""A Gaussian policy that maximises Q and stays close to the data."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.policies.unit_gaussian_policy import UnitGaussianPolicy
from floqzoo.records import FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Key, Scalar


class DDPGBCMetrics(eqx.Module):
    """The metrics of a DDPG+BC policy on a batch.

    - `actor_loss`: `q_loss` - alpha * `bc_log_prob`.
    - `q_loss`: Minus the mean score of the policy's actions.
    - `bc_log_prob`: The mean log-density of the data's actions.
    - `mse`: The squared distance between the policy's mean and the data's actions, averaged over coordinates.
    """

    actor_loss: Scalar
    q_loss: Scalar
    bc_log_prob: Scalar
    mse: Scalar


class DDPGBCPolicy(UnitGaussianPolicy):
    r"""A Gaussian policy $\pi(\cdot \mid s) = N(f(s), I)$, trained to maximise Q while imitating the data.

    The loss is

    $$-\mathbb E \, Q(s, \operatorname{clip} f(s)) - \alpha \, \mathbb E \log \pi(a \mid s).$$

    A coordinate of $f(s)$ outside [-1, 1] gets no gradient from Q. Because the variance is 1, the second term equals
    alpha times half the squared distance between $f(s)$ and the data's actions, plus a constant. Q is not normalised,
    so the best alpha depends on the scale of the rewards.

    - `network`: The network $f$, which maps an observation to the mean of the action.
    - `alpha`: The weight $\alpha$ of behaviour cloning, at least 0; must be tuned for each environment.

    Source: TD3+BC (arXiv 2106.06860) with a Gaussian policy, as in the official code of InFOM (arXiv 2506.08902).
    """

    alpha: Hyperparameter = eqx.field(converter=hyperparameter, default=10.0)

    def __check_init__(self):
        require("alpha", self.alpha, lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, DDPGBCMetrics]:
        """Returns the loss, averaged over the batch, and its metrics; the key is not used."""
        del key
        with update_step("q"):
            action = jnp.clip(jax.vmap(self.network)(batch.observation), -1, 1)
            q_loss = -jnp.mean(batch.counted(jax.vmap(agent.critic.score)(batch.observation, action)))
        log_prob = jax.vmap(self.log_prob)(batch.action, batch.observation)
        loss = q_loss - self.alpha.value * jnp.mean(batch.counted(log_prob))
        return loss, DDPGBCMetrics(loss, q_loss, jnp.mean(log_prob), self.mean_squared_error(batch))
