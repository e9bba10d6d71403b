"""A linear-Gaussian chain with a closed-form successor measure."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.special import logsumexp
from jaxtyping import Float, Int

from floqzoo.flow.path import AffinePath
from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.policies.function_policy import FunctionPolicy
from floqzoo.records import Transition
from floqzoo.tasks.quadratic_reward import QuadraticReward
from floqzoo.typing import Action, Array, Key, Observation, Point, Scalar, Time


class Moments(eqx.Module):
    """The mean and the covariance of a distribution."""

    mean: Float[Array, " observation"]
    covariance: Float[Array, "observation observation"]


class LinearAction(eqx.Module):
    """The linear policy $a = K s$, where $K$ is `gain`."""

    gain: Hyperparameter

    def __call__(self, observation: Observation) -> Action:
        """Returns the action for an observation."""
        return self.gain.value @ observation


class LinearGaussian(eqx.Module):
    r"""A linear-Gaussian chain, whose successor measure is known in closed form.

    States follow $s' = A s + B a + w$ with $w \sim N(0, W)$, and actions follow the policy $a = K s$. With $M = A +
    B K$, the $k$-th state after $(s, a)$ is Gaussian with mean $\mu_k$ and covariance $\Sigma_k$: $\mu_1 = A s + B a$,
    $\Sigma_1 = W$, $\mu_{k+1} = M \mu_k$, $\Sigma_{k+1} = M \Sigma_k M^\top + W$. The successor measure is a geometric
    mixture of these Gaussians,

    $$m(\cdot \mid s, a) = \sum_{k \ge 1} (1 - \gamma) \gamma^{k-1} N(\mu_k, \Sigma_k).$$

    The moments of the measure and the Q-values are computed from the infinite series. The density, the samples and the
    exact velocity field use only the first `terms` terms, with normalised weights. `sample` draws transitions for
    training. Actions are unbounded.

    - `dynamics`, `control`, `gain`, `noise`: $A$, $B$, $K$ and $W$; the spectral radius of $M$ must be below 1.
    - `start`: The standard deviation of the states in the behaviour policy's transitions; their distribution is
      $N(0, \text{start}^2 I)$.
    - `exploration`: The standard deviation of the noise that the behaviour policy adds to the policy's actions.
    - `discount`: $\gamma$ in [0, 1).
    - `terms`: The number of terms in the truncated series, at least 1. It should be large enough that the weight of the
      omitted terms, $\gamma^{\text{terms}}$, is small.

    **Raises** `ValueError` if the spectral radius of $M$ is not below 1, or if a value is out of range.
    """

    dynamics: Hyperparameter
    control: Hyperparameter
    gain: Hyperparameter
    noise: Hyperparameter
    start: Hyperparameter
    exploration: Hyperparameter
    discount: Hyperparameter
    powers: Hyperparameter
    axes: Hyperparameter
    variances: Hyperparameter
    terms: int = eqx.field(static=True)

    def __init__(
        self,
        dynamics: np.ndarray,
        control: np.ndarray,
        gain: np.ndarray,
        noise: np.ndarray,
        *,
        start: float = 1.5,
        exploration: float = 0.5,
        discount: Hyperparameter | float | Float[Array, ""] = 0.9,
        terms: int = 256,
    ):
        closed = np.asarray(dynamics) + np.asarray(control) @ np.asarray(gain)
        radius = np.abs(np.linalg.eigvals(closed)).max()
        if not radius < 1:
            raise ValueError(f"`dynamics + control @ gain` must have a spectral radius below 1; got {radius}.")
        if terms < 1:
            raise ValueError(f"`terms` must be at least 1; got {terms}.")
        powers, covariances = [np.eye(len(closed))], [np.asarray(noise)]
        for _ in range(terms - 1):
            powers.append(closed @ powers[-1])
            covariances.append(closed @ covariances[-1] @ closed.T + noise)
        variances, axes = np.linalg.eigh(np.stack(covariances))
        numbers = {
            "dynamics": dynamics,
            "control": control,
            "gain": gain,
            "noise": noise,
            "start": start,
            "exploration": exploration,
            "powers": np.stack(powers),
            "axes": axes,
            "variances": variances,
        }
        dtype = jax.dtypes.canonicalize_dtype(np.float64)
        for name, number in numbers.items():
            setattr(self, name, Hyperparameter(np.asarray(number, dtype)))
        self.discount = hyperparameter(discount)
        self.terms = terms
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")

    @staticmethod
    def spiral(
        discount: Hyperparameter | float | Float[Array, ""] = 0.9, *, tolerance: float = 1e-3
    ) -> "LinearGaussian":
        r"""Creates a chain in the plane, whose states circle the origin once in 25 steps and come 2 % closer per step.

        The noise has a standard deviation of 0.1 per step. As a result, the stationary standard deviation of each
        coordinate is about 0.5 under the policy. The transitions for training start from states drawn more widely, with
        a standard deviation of 1.5. For a long horizon, the successor measure has the shape of a spiral with a dense
        centre. An action moves the state by a tenth of the action's size.

        - `discount`: $\gamma$ in [0, 1).
        - `tolerance`: The maximum weight $\gamma^{\text{terms}}$ of the omitted terms. If the discount is traced, as
          inside `jax.vmap`, this maximum is guaranteed only for discounts up to 0.99.
        """
        angle, control, gain = 2 * np.pi / 25, 0.1 * np.eye(2), -0.2 * np.eye(2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        value = hyperparameter(discount).value
        known = 0.99 if isinstance(value, Tracer) else float(np.max(value))
        terms = 1 if known <= 0 else int(np.ceil(np.log(tolerance) / np.log(known)))
        return LinearGaussian(
            0.98 * turn - control @ gain, control, gain, 0.01 * np.eye(2), discount=discount, terms=max(terms, 1)
        )

    @property
    def observation_dim(self) -> int:
        """The number of coordinates of a state."""
        return self.control.value.shape[-2]

    @property
    def action_dim(self) -> int:
        """The number of coordinates of an action."""
        return self.control.value.shape[-1]

    @property
    def policy(self) -> FunctionPolicy:
        """The policy $a = K s$, for which the successor measure is defined."""
        return FunctionPolicy(LinearAction(self.gain))

    def starts(self, key: Key, count: int) -> Float[Array, "count observation"]:
        r"""Samples states from the behaviour policy's state distribution, $N(0, \text{start}^2 I)$."""
        return self.start.value * jax.random.normal(key, (count, self.observation_dim))

    def sample(self, key: Key, batch_size: int) -> Transition:
        """Samples transitions of the behaviour policy, with rewards of 0.

        The next actions and the future states in the transitions are those of `policy`.
        """

        def draw(key):
            start_key, action_key, step_key, future_key = jax.random.split(key, 4)
            state = self.starts(start_key, 1)[0]
            explore = self.exploration.value * jax.random.normal(action_key, (self.action_dim,))
            action = self.gain.value @ state + explore
            next_state = self._draw(0, self._after(state, action), step_key)
            next_action = self.gain.value @ next_state
            future = self.sample_futures(next_state, next_action, 1, future_key)[0]
            zero = jnp.zeros(())
            return Transition(state, action, zero, zero + 1, next_state, next_action, future)

        return jax.vmap(draw)(jax.random.split(key, batch_size))

    def sample_futures(
        self, observation: Observation, action: Action, count: int, key: Key
    ) -> Float[Array, "count observation"]:
        """Draws `count` future states from the successor measure of a state and an action."""
        first = self._after(observation, action)

        def draw(key):
            term_key, noise_key = jax.random.split(key)
            gamma = self.discount.value
            share = jax.random.uniform(term_key) * (1 - gamma**self.terms)
            term = jnp.clip((jnp.log1p(-share) / jnp.log(gamma)).astype(int), 0, self.terms - 1)
            return self._draw(term, first, noise_key)

        return jax.vmap(draw)(jax.random.split(key, count))

    def log_prob(self, future: Observation, observation: Observation, action: Action) -> Scalar:
        """Returns the log-density of the successor measure at a future state."""
        first = self._after(observation, action)
        return logsumexp(self._log_weights() + self._log_densities(future, first, 1.0, 0.0))

    def marginal_velocity(self, path: AffinePath, t: Time, x: Point, observation: Observation, action: Action) -> Point:
        r"""Returns the exact velocity, $\mathbb E[\dot x_t \mid x_t = x]$, of a path from standard Gaussian noise to
        the successor measure.

        For the path $x_t = \alpha x_1 + \beta x_0$ to a single term $N(\mu, \Sigma)$ of the mixture, $x_t \sim N(\alpha
        \mu, S)$ with $S = \alpha^2 \Sigma + \beta^2 I$, and $\mathbb E[\dot x_t \mid x_t] = \dot\alpha \mu +
        (\dot\alpha \alpha \Sigma + \dot\beta \beta I) S^{-1} (x_t - \alpha \mu)$. The result is the average of these
        velocities over all terms, weighted by the posterior probability of each term given $x_t = x$.
        """
        c = path.coefficients(t)
        first = self._after(observation, action)
        share = jax.nn.softmax(self._log_weights() + self._log_densities(x, first, c.alpha, c.beta))
        variances = jnp.asarray(self.variances.value)
        pull = (c.alpha_rate * c.alpha * variances + c.beta_rate * c.beta) / (c.alpha**2 * variances + c.beta**2)
        turned = jnp.einsum("kij,kj->ki", self.axes.value, pull * self._along_axes(x, first, c.alpha))
        return share @ (c.alpha_rate * self._means(first) + turned)

    def moments(self, observation: Observation, action: Action) -> Moments:
        r"""Returns the mean and the covariance of the successor measure, computed from the infinite series.

        For a sample $X$ of the measure, $\mathbb E X = (1 - \gamma) (I - \gamma M)^{-1} \mu_1$, and $S = \mathbb E X
        X^\top$ solves $S = (1 - \gamma)(\mu_1 \mu_1^\top + W) + \gamma (M S M^\top + W)$.
        """
        gamma, first, noise = self.discount.value, self._after(observation, action), self.noise.value
        closed = self.dynamics.value + self.control.value @ self.gain.value
        dim = first.size
        mean = (1 - gamma) * jnp.linalg.solve(jnp.eye(dim) - gamma * closed, first)
        right = (1 - gamma) * (jnp.outer(first, first) + noise) + gamma * noise
        system = jnp.eye(dim**2) - gamma * jnp.kron(closed, closed)
        second = jnp.linalg.solve(system, right.reshape(-1)).reshape(dim, dim)
        return Moments(mean, second - jnp.outer(mean, mean))

    def value(self, observation: Observation, action: Action, reward: QuadraticReward) -> Scalar:
        r"""Returns the Q-value $\frac{1}{1 - \gamma} \mathbb E_{X \sim m(\cdot \mid s, a)}[r(X)]$ for a reward $r$ of
        the next state, computed from the infinite series."""
        moments = self.moments(observation, action)
        expected = reward(moments.mean) + jnp.sum(reward.quadratic.value * moments.covariance)
        return expected / (1 - self.discount.value)

    def _after(self, observation: Observation, action: Action) -> Observation:
        return self.dynamics.value @ observation + self.control.value @ action

    def _means(self, first: Observation) -> Float[Array, "terms observation"]:
        return self.powers.value @ first

    def _along_axes(self, x: Point, first: Observation, alpha: Scalar | float) -> Float[Array, "terms observation"]:
        """The displacement of a point from the mean of each term, along the principal axes of that term."""
        return jnp.einsum("kij,ki->kj", self.axes.value, x[None] - alpha * self._means(first))

    def _log_densities(
        self, x: Point, first: Observation, alpha: Scalar | float, beta: Scalar | float
    ) -> Float[Array, " terms"]:
        """The log-density of each term at a point of the path from Gaussian noise, given the path's coefficients."""
        variances = alpha**2 * jnp.asarray(self.variances.value) + beta**2
        squares = self._along_axes(x, first, alpha) ** 2 / variances
        return -jnp.sum(squares + jnp.log(2 * jnp.pi * variances), axis=1) / 2

    def _log_weights(self) -> Float[Array, " terms"]:
        gamma = self.discount.value
        k = jnp.arange(self.terms, dtype=float)
        # 0 log 0 = 0, for the first term with discount 0.
        growth = jnp.where(k > 0, k * jnp.log(jnp.where(k > 0, gamma, 1.0)), 0.0)
        return jnp.log1p(-gamma) + growth - jnp.log1p(-(gamma**self.terms))

    def _draw(self, term: Int[Array, ""] | int, first: Observation, key: Key) -> Observation:
        """A sample of one term of the mixture, given the mean of the first term."""
        noise = jnp.sqrt(jnp.asarray(self.variances.value)[term]) * jax.random.normal(key, first.shape)
        return jnp.asarray(self.powers.value)[term] @ first + jnp.asarray(self.axes.value)[term] @ noise
