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
"""The limit to which `TanhGaussianPolicy.log_prob` clips the absolute value of each action coordinate."""


class TanhGaussianMetrics(eqx.Module):
    """The metrics of a tanh-Gaussian policy on a batch.

    - `actor_loss`: `sac_loss` + alpha_bc * `bc_loss` + `temperature_loss`.
    - `sac_loss`: The mean of temperature * log-density - score, over sampled actions.
    - `bc_loss`: Minus the mean log-density of the data's actions.
    - `temperature_loss`: Temperature * (`entropy` - target entropy).
    - `temperature`: The entropy temperature of the policy.
    - `entropy`: Minus the mean log-density of sampled actions.
    - `std`: The mean standard deviation of the Gaussian, before tanh.
    - `q`: The mean score of sampled actions.
    - `mse`: The squared distance between the mode and the data's actions, averaged over coordinates.
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
    r"""A Gaussian policy squashed by tanh, and trained by soft actor-critic (SAC).

    An action is $a = \tanh u$ with $u \sim N(\mu(s), \operatorname{diag} \sigma(s)^2)$. The loss is

    $$\mathbb E \bigl[ \beta \log \pi(a \mid s) - Q(s, a) \bigr]
    - \alpha_\text{bc} \, \mathbb E \log \pi(a_\text{data} \mid s)
    + \beta \bigl( \mathcal H - \bar{\mathcal H} \bigr), \qquad \bar{\mathcal H} = -m d,$$

    where $a$ is a reparametrised sample, $\beta$ is the temperature, and $d$ is the number of action coordinates. In
    the first term, $\beta$ is treated as a constant. In the last term, the entropy
    $\mathcal H = -\mathbb E \log \pi(a \mid s)$ is treated as a constant, so this term only trains the temperature:
    $\beta$ falls while the entropy is above its target $\bar{\mathcal H}$, and rises while the entropy is below it.

    The policy acts with its mode $\tanh \mu(s)$, as FQL's official code does in evaluations, and explores with samples.

    - `network`: A network that maps an observation to $2d$ outputs: first $\mu$, then $\log \sigma$.
    - `log_temperature`: The logarithm $\log \beta$ of the temperature, which is trained; initially 0, i.e. $\beta = 1$.
    - `entropy_multiplier`: $m$ in the target entropy, finite; 0.5 in the official code of FQL, 1 in SAC's paper.
    - `alpha_bc`: The weight $\alpha_\text{bc}$ of behaviour cloning, at least 0. The official code of QC and that of
      QAM have such a weight for RLPD, which is 0 in most environments. We did not find the exact form of the term, and
      chose maximum likelihood.
    - `log_std_low`, `log_std_high`: The limits to which $\log \sigma$ is clipped; -5 and 2 in FQL's official code.

    **Raises** `ValueError` if a number is out of range.

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
    def entropy_temperature(self) -> Scalar:
        r"""The temperature $\beta$, above 0, in units of reward per nat."""
        return jnp.exp(self.log_temperature)

    def mode(self, observation: Observation) -> Action:
        r"""Returns the mode $\tanh \mu(s)$."""
        return jnp.tanh(self.moments(observation)[0])

    def explore(self, observation: Observation, critic: Critic | None, key: Key) -> Action:
        """Samples an action; the critic is not used."""
        del critic
        return self.act_with_log_prob(observation, key).action

    def act_with_log_prob(self, observation: Observation, key: Key) -> ActionDraw:
        """Samples an action and computes its exact log-density; both are differentiable in the policy's parameters."""
        mean, log_std = self.moments(observation)
        noise = jax.random.normal(key, mean.shape, mean.dtype)
        u = mean + jnp.exp(log_std) * noise
        return ActionDraw(jnp.tanh(u), jnp.sum(_gaussian_log_prob(noise, log_std) - _log_tanh_slope(u)))

    def log_prob(self, action: Action, observation: Observation) -> Scalar:
        """Returns the log-density of an action.

        The log-density diverges at -1 and 1, so coordinates are first clipped to [-1 + 1e-5, 1 - 1e-5]. By default, the
        actions in the data of an [`OGBenchTask`][floqzoo.tasks.OGBenchTask] are already clipped in this way.
        """
        mean, log_std = self.moments(observation)
        u = jnp.arctanh(jnp.clip(action, -ACTION_LIMIT, ACTION_LIMIT))
        return jnp.sum(_gaussian_log_prob((u - mean) * jnp.exp(-log_std), log_std) - _log_tanh_slope(u))

    def moments(self, observation: Observation) -> tuple[Float[Array, " action"], Float[Array, " action"]]:
        r"""Returns $\mu$ and $\log \sigma$, the parameters of the Gaussian before tanh.

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
        """Returns the sum of the three terms of the loss, averaged over the batch, and the metrics."""
        keys = jax.random.split(key, batch.reward.shape[0])
        draws = jax.vmap(self.act_with_log_prob)(batch.observation, keys)
        with update_step("q"):
            q = jax.vmap(agent.critic.score)(batch.observation, draws.action)
        sac_loss = jnp.mean(jax.lax.stop_gradient(self.entropy_temperature) * draws.log_prob - q)

        entropy = -jnp.mean(jax.lax.stop_gradient(draws.log_prob))
        target_entropy = -self.entropy_multiplier.value * batch.action.shape[1]
        temperature_loss = self.entropy_temperature * (entropy - target_entropy)

        with update_step("behaviour_cloning"):
            bc_loss = -jnp.mean(batch.counted(jax.vmap(self.log_prob)(batch.action, batch.observation)))
            mean, log_std = jax.vmap(self.moments)(batch.observation)
        loss = sac_loss + self.alpha_bc.value * bc_loss + temperature_loss
        return loss, TanhGaussianMetrics(
            actor_loss=loss,
            sac_loss=sac_loss,
            bc_loss=bc_loss,
            temperature_loss=temperature_loss,
            temperature=self.entropy_temperature,
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
