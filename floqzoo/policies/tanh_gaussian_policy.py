"""A Gaussian policy squashed by tanh, trained by soft actor-critic with a learnt temperature."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.policies.policy_with_mode import PolicyWithMode
from floqzoo.protocols import Critic, Network, require_protocol
from floqzoo.records import ActionDraw, FrozenAgent, Transition
from floqzoo.scopes import update_step
from floqzoo.typing import Action, Array, Key, Observation, Scalar


ACTION_LIMIT = 1 - 1e-5
"""The largest absolute value of an action coordinate in `TanhGaussianPolicy.log_prob`."""


class TanhGaussianMetrics(eqx.Module):
    """The metrics of a tanh-Gaussian policy on a batch.

    - `actor_loss`: `sac_loss` + alpha_bc * `bc_loss` + `temperature_loss`.
    - `sac_loss`: The mean of temperature * log-density - score, over sampled actions.
    - `bc_loss`: Minus the mean log-density of the data's actions.
    - `temperature_loss`: Temperature * (`entropy` - target entropy).
    - `temperature`: The temperature.
    - `entropy`: Minus the mean log-density of sampled actions.
    - `std`: The mean standard deviation before tanh.
    - `q`: The mean score of sampled actions.
    - `mse`: Squared distance of the mode from the data's actions, averaged over coordinates.
    """

    actor_loss: Scalar
    sac_loss: Scalar
    bc_loss: Scalar
    temperature_loss: Scalar
    temperature: Scalar
    entropy: Scalar
    std: Scalar
    q: Scalar
    mse: Scalar


def _parameter(value: Any) -> Any:
    return jnp.asarray(value, jax.dtypes.canonicalize_dtype(np.float64))


class TanhGaussianPolicy(PolicyWithMode):
    r"""$a = \tanh u$ with $u \sim N(\mu(s), \operatorname{diag} \sigma(s)^2)$, trained by soft actor-critic.

    $$\mathbb E \bigl[ \beta \log \pi(a \mid s) - Q(s, a) \bigr]
    - \alpha_\text{bc} \, \mathbb E \log \pi(a_\text{data} \mid s)
    + \beta \bigl( \mathcal H - \bar{\mathcal H} \bigr), \qquad \bar{\mathcal H} = -m d,$$

    where $a$ is a reparametrised sample. $\beta$ is treated as a constant in the first term, and the entropy $\mathcal
    H = -\mathbb E \log \pi(a \mid s)$ in the last, which trains the temperature $\beta$ alone: $\beta$ falls while the
    entropy is above its target, and rises while it is below.

    The policy acts with its mode $\tanh \mu(s)$, as FQL's official code does in evaluations, and explores with samples.

    - `network`: A network from an observation to $\mu$ and then $\log \sigma$, each with $d$ coordinates.
    - `log_temperature`: $\log \beta$, trained; initially 0, i.e. $\beta = 1$.
    - `entropy_multiplier`: $m$ in the target entropy, finite; 0.5 in the official code of FQL, 1 in SAC's paper.
    - `alpha_bc`: $\alpha_\text{bc}$, at least 0. The official code of QC and that of QAM have such a weight for RLPD,
      which is 0 in most environments; we did not find the exact form of the term, and chose maximum likelihood.
    - `log_std_low`, `log_std_high`: The limits to which $\log \sigma$ is clipped; -5 and 2 in FQL's official code.

    **Raises** `ValueError` if a number is out of its range.

    Source: SAC (arXiv 1812.05905), equations 7 and 18 and appendix C, and the official code of FQL (arXiv 2502.02538).
    """

    network: Network | Any
    log_temperature: Float[Array, ""] | Any = eqx.field(converter=_parameter, default=0.0)
    entropy_multiplier: Hyperparameter = eqx.field(converter=hyperparameter, default=0.5)
    alpha_bc: Hyperparameter = eqx.field(converter=hyperparameter, default=0.0)
    log_std_low: Hyperparameter = eqx.field(converter=hyperparameter, default=-5.0)
    log_std_high: Hyperparameter = eqx.field(converter=hyperparameter, default=2.0)

    def __check_init__(self):
        require_protocol("network", self.network, Network)
        for name in ("entropy_multiplier", "log_std_low", "log_std_high"):
            require(name, getattr(self, name), np.isfinite, "finite")
        require("alpha_bc", self.alpha_bc, lambda value: np.isfinite(value) & (value >= 0), "at least 0 and finite")
        if not isinstance(self.log_std_high.stored, Tracer):
            high = np.asarray(self.log_std_high.stored)
            require("log_std_low", self.log_std_low, lambda low: low < high, f"below `log_std_high`, which is {high}")

    @property
    def temperature(self) -> Scalar:
        r"""$\beta$, above 0, in units of reward per nat."""
        return jnp.exp(self.log_temperature)

    def mode(self, observation: Observation) -> Action:
        r"""The mode, $\tanh$ of the mean."""
        return jnp.tanh(self.moments(observation)[0])

    def explore(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Draws a sample; the critic is not used."""
        del critic
        return self.act_with_log_prob(observation, key).action

    def act_with_log_prob(self, observation: Observation, key: Key) -> ActionDraw:
        """Draws a sample, with its exact log-density; both are differentiable with respect to the parameters."""
        mean, log_std = self.moments(observation)
        noise = jax.random.normal(key, mean.shape, mean.dtype)
        u = mean + jnp.exp(log_std) * noise
        return ActionDraw(jnp.tanh(u), jnp.sum(_gaussian_log_prob(noise, log_std) - _log_tanh_slope(u)))

    def log_prob(self, action: Action, observation: Observation) -> Scalar:
        """The log-density of an action.

        A coordinate closer than 1e-5 to -1 or 1, where the log-density diverges, is moved to that distance. Actions in
        the data of an [`OGBenchTask`][floqzoo.tasks.OGBenchTask] are clipped in this way by default.
        """
        mean, log_std = self.moments(observation)
        u = jnp.arctanh(jnp.clip(action, -ACTION_LIMIT, ACTION_LIMIT))
        return jnp.sum(_gaussian_log_prob((u - mean) * jnp.exp(-log_std), log_std) - _log_tanh_slope(u))

    def moments(self, observation: Observation) -> tuple[Float[Array, " action"], Float[Array, " action"]]:
        r"""$\mu$ and $\log \sigma$ of an action before tanh.

        **Raises** `ValueError` if the network has an odd number of outputs.
        """
        outputs = self.network(observation)
        if outputs.size % 2:
            raise ValueError(
                f"`network` must have two outputs for each coordinate of an action; it has {outputs.size}."
            )
        dim = outputs.size // 2
        return outputs[:dim], jnp.clip(outputs[dim:], self.log_std_low.value, self.log_std_high.value)

    def policy_loss(self, batch: Transition, agent: FrozenAgent, key: Key) -> tuple[Scalar, TanhGaussianMetrics]:
        """The sum of the loss's three terms, averaged over the batch, and its metrics."""
        keys = jax.random.split(key, batch.reward.shape[0])
        draws = jax.vmap(self.act_with_log_prob)(batch.observation, keys)
        with update_step("q"):
            q = jax.vmap(agent.critic.score)(batch.observation, draws.action)
        sac_loss = jnp.mean(jax.lax.stop_gradient(self.temperature) * draws.log_prob - q)

        entropy = -jnp.mean(jax.lax.stop_gradient(draws.log_prob))
        target_entropy = -self.entropy_multiplier.value * batch.action.shape[1]
        temperature_loss = self.temperature * (entropy - target_entropy)

        with update_step("behaviour_cloning"):
            bc_loss = -jnp.mean(batch.counted(jax.vmap(self.log_prob)(batch.action, batch.observation)))
            mean, log_std = jax.vmap(self.moments)(batch.observation)
        loss = sac_loss + self.alpha_bc.value * bc_loss + temperature_loss
        return loss, TanhGaussianMetrics(
            actor_loss=loss,
            sac_loss=sac_loss,
            bc_loss=bc_loss,
            temperature_loss=temperature_loss,
            temperature=self.temperature,
            entropy=entropy,
            std=jnp.mean(jnp.exp(log_std)),
            q=jnp.mean(q),
            mse=jnp.mean((jnp.tanh(mean) - batch.action) ** 2),
        )


def _gaussian_log_prob(noise: Float[Array, " dim"], log_std: Float[Array, " dim"]) -> Float[Array, " dim"]:
    """The log-density of each coordinate of mean + std * noise."""
    return -(noise**2) / 2 - log_std - math.log(2 * math.pi) / 2


def _log_tanh_slope(u: Float[Array, " dim"]) -> Float[Array, " dim"]:
    r"""$\log (1 - \tanh^2 u) = 2 (\log 2 - |u| - \log(1 + e^{-2 |u|}))$.

    In this form, nothing cancels and no exponential overflows; computed directly, $1 - \tanh^2 u$ rounds to 0 in
    float32 for $|u|$ above about 9.
    """
    size = jnp.abs(u)
    return 2 * (math.log(2) - size - jnp.log1p(jnp.exp(-2 * size)))
