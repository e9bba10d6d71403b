"""Best-of-N sampling with a temperature: candidates with a higher Q-value are selected more often."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.policies.best_of_n_policy import BestOfNPolicy
from floqzoo.protocols import Critic
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class SoftBestOfNPolicy(BestOfNPolicy):
    r"""Selects one of $N$ actions $a_i$ of a behaviour policy, with probability $\propto \exp(Q(s, a_i) / \tau)$.

    As $\tau \to 0$, the policy tends to `BestOfNPolicy`, and as $\tau \to \infty$ to the behaviour policy $\beta$. As
    $N \to \infty$, the distribution of its actions tends to $\beta(a \mid s) \exp(Q(s, a) / \tau)$, normalised; this is
    the policy that maximises $\mathbb E \, Q - \tau \operatorname{KL}(\cdot \Vert \beta)$. No loss depends on $\tau$ or
    $N$, so both may be changed in a trained policy.

    - `behaviour`: A policy that imitates the data and [acts from noise][floqzoo.protocols.ActsFromNoise], such as a
      `BehaviourFlow`. Its noise prior must have a `cdf`, because the first coordinate of an additional noise sample
      selects the candidate.
    - `num_samples`: $N$, at least 1.
    - `temperature`: $\tau$, above 0, in units of reward.

    **Raises** `TypeError` if `behaviour` is not such a policy, `ValueError` if a number is out of range.

    Source: EVOR (arXiv 2510.08218). The paper mentions a temperature for the selection of actions; its public reviews
    say that this is a softmax over the scores. The method of sampling the candidate is our choice.
    """

    temperature: Hyperparameter = eqx.field(converter=hyperparameter, default=1.0)

    def __check_init__(self):
        require("temperature", self.temperature, lambda value: np.isfinite(value) & (value > 0), "above 0 and finite")
        if not hasattr(getattr(self.behaviour, "noise_prior", None), "cdf"):
            raise TypeError(
                "`behaviour` must have a `noise_prior` with a method `cdf`, as a BehaviourFlow has; "
                f"got a {type(self.behaviour).__name__}."
            )

    def act(self, observation: Observation, critic: Critic, key: Key) -> Action:
        """Draws the candidates and samples one of them, with the softmax of their scores as probabilities."""
        return self.act_from_noise(observation, critic, self.draw_noise(key))

    def act_from_noise(self, observation: Observation, critic: Critic, noise: Float[Array, "draws *noise"]) -> Action:
        """Returns one of the candidates that the rows of the noise give; the first element of the last row selects it."""
        actions = jax.vmap(self._from_noise.act_from_noise, (None, None, 0))(observation, critic, noise[:-1])
        scores = jax.vmap(critic.score, (None, 0))(observation, actions)
        level = self._from_noise.noise_prior.cdf(noise[-1].reshape(-1)[0])
        # The maximum is subtracted before the division, whose result a small temperature would make overflow.
        return actions[choice_at(level, jax.nn.softmax((scores - jnp.max(scores)) / self.temperature.value))]

    @property
    def _num_draws(self) -> int:
        """The number of noise samples drawn for one action: one for each candidate, and one for the choice."""
        return self.num_samples + 1


def choice_at(level: Scalar, probabilities: Float[Array, " choices"]) -> Int[Array, ""]:
    """Returns the index that a uniform `level` in [0, 1] selects, by inverting the cumulative distribution function."""
    size = len(probabilities)
    # A cumulative sum, written with operations that every runtime of an exported policy supports.
    up_to = jnp.asarray(np.tril(np.ones((size - 1, size))), probabilities.dtype)
    below = jnp.sum(up_to * probabilities[None], axis=1)
    return jnp.sum((below <= level).astype(below.dtype)).astype(jnp.int32)
