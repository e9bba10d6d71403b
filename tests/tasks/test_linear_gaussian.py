"""The analytic chain against brute force: sums of its series, integrals of its density, statistics of its samples."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.tasks import ExactField, LinearGaussian, QuadraticReward


STATE, ACTION = jnp.array([1.0, 0.5]), jnp.array([0.3, -0.2])
REWARD = QuadraticReward(np.array([[-1.0, 0.3], [0.3, 0.5]]), np.array([1.0, -2.0]), 0.7)


def series(chain, state=STATE, action=ACTION, terms=600):
    """Weights, means and covariances of the geometric mixture, one after the other."""
    a, b, k, w = (
        np.asarray(part.value, np.float64) for part in (chain.dynamics, chain.control, chain.gain, chain.noise)
    )
    gamma = float(chain.discount.value)
    mean, covariance, rows = a @ state + b @ action, w, []
    for power in range(terms):
        rows.append(((1 - gamma) * gamma**power, mean, covariance))
        closed = a + b @ k
        mean, covariance = closed @ mean, closed @ covariance @ closed.T + w
    return rows


@pytest.mark.parametrize("discount", [0.0, 0.5, 0.9])
def test_moments_and_value_are_those_of_the_series(discount):
    chain = LinearGaussian.spiral(discount)
    rows = series(chain)
    mean = sum(weight * mean for weight, mean, _ in rows)
    second = sum(weight * (np.outer(mean, mean) + covariance) for weight, mean, covariance in rows)
    moments = chain.moments(STATE, ACTION)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moments.covariance, second - np.outer(mean, mean), rtol=1e-4, atol=1e-5)
    c, linear, constant = np.array([[-1.0, 0.3], [0.3, 0.5]]), np.array([1.0, -2.0]), 0.7
    value = (np.sum(c * second) + linear @ mean + constant) / (1 - discount)
    np.testing.assert_allclose(chain.value(STATE, ACTION, REWARD), value, rtol=1e-4)


@pytest.mark.parametrize("discount", [0.0, 0.9])
def test_samples_have_the_moments_and_the_value(discount, getkey):
    """Six standard errors, and what the truncated tail may be worth."""
    count, chain = 40_000, LinearGaussian.spiral(discount, tolerance=1e-6)
    futures = np.asarray(eqx.filter_jit(chain.sample_futures)(STATE, ACTION, count, getkey()), np.float64)
    moments = chain.moments(STATE, ACTION)
    deviations = futures.std(axis=0)
    assert np.all(np.abs(futures.mean(axis=0) - moments.mean) < 6 * deviations / count**0.5)
    products = (futures - futures.mean(axis=0))[:, :, None] * (futures - futures.mean(axis=0))[:, None, :]
    errors = np.abs(products.mean(axis=0) - moments.covariance)
    assert np.all(errors < 6 * products.std(axis=0) / count**0.5)
    rewards = np.asarray(jax.vmap(REWARD)(jnp.asarray(futures, dtype=float)))
    value = chain.value(STATE, ACTION, REWARD) * (1 - discount)
    assert abs(rewards.mean() - value) < 6 * rewards.std() / count**0.5


@pytest.mark.parametrize("discount", [0.0, 0.9])
def test_the_density_integrates_to_one_and_has_the_mean(discount):
    chain = LinearGaussian.spiral(discount)
    side = np.linspace(-4, 4, 161)
    grid = jnp.asarray(np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2), dtype=float)
    density = np.exp(jax.jit(jax.vmap(lambda x: chain.log_prob(x, STATE, ACTION)))(grid)) * (side[1] - side[0]) ** 2
    np.testing.assert_allclose(density.sum(), 1, atol=1e-3)
    np.testing.assert_allclose(density @ np.asarray(grid), chain.moments(STATE, ACTION).mean, atol=5e-3)


def test_a_bellman_step_leaves_the_density_as_it_is(getkey):
    r"""$m = (1 - \gamma) P + \gamma P^\pi m$, the right side over draws of $s'$, to six standard errors."""
    chain, x = LinearGaussian.spiral(0.9, tolerance=1e-5), jnp.array([0.4, 0.2])
    first = LinearGaussian.spiral(0.0)

    def density_after(key):
        state = first.sample_futures(STATE, ACTION, 1, key)[0]
        return jnp.exp(chain.log_prob(x, state, chain.gain.value @ state))

    later = np.asarray(jax.jit(jax.vmap(density_after))(jax.random.split(getkey(), 4000)))
    now = jnp.exp(first.log_prob(x, STATE, ACTION))
    left = float(jnp.exp(chain.log_prob(x, STATE, ACTION)))
    assert abs(0.1 * now + 0.9 * later.mean() - left) < 6 * 0.9 * later.std() / 4000**0.5 + 1e-4


@pytest.mark.parametrize("path", [fz.LinearPath(), fz.TrigonometricPath()], ids=["linear", "trigonometric"])
def test_the_exact_field_carries_noise_to_the_measure(path):
    """The density at the end of its flow, by the change of variables, is the closed form."""
    chain = LinearGaussian.spiral(0.8, tolerance=1e-5)
    flow = fz.Flow(ExactField(chain, path), 2, path=path)
    points = jnp.array([[0.4, 0.2], [-0.3, 1.0], [1.2, 0.6]])
    by_flow = jax.jit(jax.vmap(lambda x: flow.log_prob(x, flow.encode(STATE, ACTION))))(points)
    np.testing.assert_allclose(by_flow, jax.vmap(lambda x: chain.log_prob(x, STATE, ACTION))(points), atol=5e-3)


def test_the_exact_field_is_the_best_prediction(getkey):
    """Its error against conditional velocities is uncorrelated with any function of the point (six standard errors)."""
    chain, path, count = LinearGaussian.spiral(0.9), fz.LinearPath(), 20_000
    field = ExactField(chain, path)
    futures = chain.sample_futures(STATE, ACTION, count, getkey())
    noise, times = jax.random.normal(getkey(), (count, 2)), jax.random.uniform(getkey(), (count,))
    points = jax.vmap(path.at)(times, noise, futures)
    velocity = jax.jit(jax.vmap(lambda t, x: field.velocity(t, x, (STATE, ACTION))))(times, points.x)
    error = np.asarray(points.velocity - velocity)
    for feature in (np.ones((count, 1)), np.asarray(points.x), np.sin(3 * np.asarray(points.x[:, ::-1]))):
        product = error * feature
        assert np.all(np.abs(product.mean(axis=0)) < 6 * product.std(axis=0) / count**0.5)


def test_a_batch_is_of_the_chain_and_of_its_policy(getkey):
    chain, count = LinearGaussian.spiral(0.9), 20_000
    batch = eqx.filter_jit(chain.sample)(getkey(), count)
    policy = jax.vmap(lambda s: chain.policy.act(s, None, getkey()))
    np.testing.assert_allclose(batch.next_action, policy(batch.next_observation), rtol=1e-5)
    noise = batch.next_observation - batch.observation @ chain.dynamics.value.T - batch.action @ chain.control.value.T
    np.testing.assert_allclose(np.cov(noise.T), chain.noise.value, atol=6 * 0.01 * (2 / count) ** 0.5)
    explored = np.asarray(batch.action - policy(batch.observation))
    np.testing.assert_allclose(explored.std(axis=0), 0.5, rtol=6 / (2 * count) ** 0.5)
    expected = jax.vmap(lambda s, a: chain.moments(s, a).mean)(batch.next_observation, batch.next_action)
    error = np.asarray(batch.future - expected)
    assert np.all(np.abs(error.mean(axis=0)) < 6 * error.std(axis=0) / count**0.5)


def test_one_chain_for_several_discounts():
    chains = eqx.filter_vmap(LinearGaussian.spiral)(jnp.array([0.5, 0.9]))
    values = eqx.filter_vmap(lambda chain: chain.value(STATE, ACTION, REWARD))(chains)
    apart = [LinearGaussian.spiral(gamma).value(STATE, ACTION, REWARD) for gamma in (0.5, 0.9)]
    np.testing.assert_allclose(values, jnp.stack(apart), rtol=1e-5)


@pytest.mark.parametrize("discount", [1.0, -0.1, np.nan])
def test_a_discount_outside_of_its_range_is_refused(discount):
    with pytest.raises(ValueError, match=r"`discount` must be in \[0, 1\)"):
        LinearGaussian(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)), np.eye(1), discount=discount)


def test_a_chain_that_runs_away_is_refused():
    with pytest.raises(ValueError, match="spectral radius below 1"):
        LinearGaussian(np.eye(2), np.eye(2), np.zeros((2, 2)), np.eye(2))


def test_a_series_without_terms_is_refused():
    with pytest.raises(ValueError, match="`terms` must be at least 1; got 0"):
        LinearGaussian(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)), np.eye(1), terms=0)
