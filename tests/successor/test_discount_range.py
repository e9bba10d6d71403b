"""One flow for every discount of a range: its loss, its fixed point, and that its discounts agree with each other."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.hyperparameter import Hyperparameter, partition_trainable
from floqzoo.networks import Normaliser
from floqzoo.successor import METHODS, FlowSuccessor
from floqzoo.tasks import LinearGaussian
from floqzoo.testing.policy_laws import frozen_agent
from tests.successor.known_measures import Correctable, exact_field, small_field, trained_on


STATE, ACTION = jnp.array([1.0, 0.5]), jnp.array([0.3, -0.2])
LOW, HIGH = 0.3, 0.7
CHAIN = LinearGaussian.spiral(HIGH, tolerance=1e-5)
POLICY = fz.ActorCritic(None, CHAIN.policy)


class ExactFieldOfDiscounts(eqx.Module):
    """The exact field of the chain with the discount of its condition, plus an error of the horizon's logarithm."""

    error: float = 0.0

    def encode(self, observation, action, condition):
        shortest, longest = -np.log(1 - LOW), -np.log(1 - HIGH)
        log_horizon = shortest + (longest - shortest) * (condition[0] + 1) / 2
        return observation, action, -jnp.expm1(-log_horizon - self.error)

    def velocity(self, t, x, code):
        observation, action, discount = code
        chain = eqx.tree_at(lambda chain: chain.discount, CHAIN, Hyperparameter(discount))
        return exact_field(chain).velocity(t, x, (observation, action))


def measures(field, rule=None, **parts):
    flow = fz.Flow(field, 2, solver=fz.Midpoint(20))
    return fz.DiscountRangeSuccessor(FlowSuccessor(flow, rule or fz.TD2Target(), discount=0.5, **parts), LOW, HIGH)


def scores_at_the_truth(error, key, count=6_000):
    """Standard scores of the mean gradient, one for each transition, of a correction of the exact field."""
    online = measures(Correctable.of(ExactFieldOfDiscounts(error), 2, 5))
    target = measures(ExactFieldOfDiscounts(error))
    trainable, rest = partition_trainable(online)
    agent = frozen_agent(None, CHAIN.policy)

    def gradient(key):
        batch_key, loss_key = jax.random.split(key)
        batch = CHAIN.sample(batch_key, 1)

        def loss(trainable):
            return eqx.combine(trainable, rest).successor_loss(batch, target, agent, loss_key)[0]

        return jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(jax.grad(loss)(trainable))])

    gradients = jax.jit(lambda keys: jax.lax.map(gradient, keys, batch_size=500))(jax.random.split(key, count))
    gradients = np.asarray(gradients, np.float64)
    return gradients.mean(axis=0) / (gradients.std(axis=0) / count**0.5)


@pytest.mark.slow
def test_the_expected_gradient_vanishes_at_the_exact_measures_and_at_no_others(getkey):
    """For every discount at once; with horizons a quarter too long it does not."""
    assert np.abs(scores_at_the_truth(0.0, getkey())).max() < 6
    assert np.abs(scores_at_the_truth(0.25, getkey())).max() > 6


@pytest.mark.slow
def test_the_loss_is_that_of_one_discount_for_each_row_on_the_same_draws(getkey):
    """Log-horizons are uniform, and the condition is their place in the range, from -1 to 1."""
    both, batch = measures(small_field(getkey(), condition=5)), CHAIN.sample(getkey(), 5)
    agent, key = frozen_agent(None, CHAIN.policy), getkey()
    loss, metrics = both.successor_loss(batch, both, agent, jax.random.clone(key))
    discount_key, loss_key = jax.random.split(key)
    shares = np.asarray(jax.random.uniform(discount_key, (5,)), np.float64)
    horizons = np.exp(np.log(1 / (1 - LOW)) + shares * np.log((1 - LOW) / (1 - HIGH)))
    conditions = jnp.asarray(2 * shares - 1, dtype=float)[:, None]
    first, rest = both.measure.row_losses(batch, both.measure, agent, loss_key, conditions)
    expected = np.mean(np.asarray(first) / horizons + np.asarray(rest) * (1 - 1 / horizons))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose([metrics.one_step_loss, metrics.bootstrap_loss], [first.mean(), rest.mean()], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("discount", [LOW, 0.55, HIGH])
def test_futures_and_densities_are_those_of_the_present_discount(discount, getkey):
    both = measures(ExactFieldOfDiscounts()).at(discount)
    assert float(both.discount.value) == pytest.approx(discount)
    chain = eqx.tree_at(lambda chain: chain.discount, CHAIN, Hyperparameter(jnp.asarray(discount)))
    futures = eqx.filter_jit(both.sample_futures)(STATE, ACTION, 4000, getkey())
    assert_moments(futures, chain.moments(STATE, ACTION))
    found = eqx.filter_jit(both.log_prob)(futures[0], STATE, ACTION)
    np.testing.assert_allclose(found, chain.log_prob(futures[0], STATE, ACTION), atol=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("first", [LOW, 0.5, HIGH])
def test_two_stages_are_one(first, getkey):
    """Futures of the exact measures by way of a shorter horizon have the moments of the longer one."""
    both = measures(ExactFieldOfDiscounts()).at(HIGH)
    futures = eqx.filter_jit(lambda key: both.composed_futures(STATE, ACTION, 4000, key, first=first, actor=POLICY))
    assert_moments(futures(getkey()), CHAIN.moments(STATE, ACTION))


def assert_moments(samples, moments):
    samples = np.asarray(samples, np.float64)
    error = 6 * samples.std(axis=0) / len(samples) ** 0.5
    np.testing.assert_array_less(np.abs(samples.mean(axis=0) - moments.mean), error)
    np.testing.assert_allclose(np.cov(samples.T), moments.covariance, atol=0.1 * np.abs(moments.covariance).max())


@pytest.mark.slow
def test_one_network_learns_every_horizon(getkey):
    """Its means are nearer to the exact ones than to those of the neighbouring horizon."""
    field = fz.ConditionalField(2, 5, build=lambda *sizes, key: fz.MLP(*sizes, hidden=(64, 64), key=key), key=getkey())
    measure = METHODS["td2-cfm"](field, 2, discount=0.5, normaliser=Normaliser(np.zeros(2), np.ones(2)))
    critic = fz.SuccessorCritic(fz.DiscountRangeSuccessor(measure, LOW, HIGH), lambda x: x[0])
    trained = trained_on(CHAIN, critic, CHAIN.policy, getkey(), updates=1500)[0].measure
    starts, discounts = CHAIN.starts(getkey(), 20), (LOW, 0.5, HIGH)
    means, exact = [], []
    for discount in discounts:
        chain = eqx.tree_at(lambda chain: chain.discount, CHAIN, Hyperparameter(jnp.asarray(discount)))
        futures = jax.vmap(trained.at(discount).sample_futures, (0, 0, None, 0))
        keys = jax.random.split(getkey(), len(starts))
        means.append(np.mean(futures(starts, jnp.zeros((20, 2)), 256, keys), axis=1))
        exact.append(jax.vmap(lambda start, chain=chain: chain.moments(start, jnp.zeros(2)).mean)(starts))
    errors = [[np.sqrt(np.mean((mean - truth) ** 2)) for truth in exact] for mean in means]
    assert np.argmin(errors, axis=1).tolist() == [0, 1, 2], errors
    assert np.max(np.diag(errors)) < 0.2, errors


def test_a_range_or_a_discount_out_of_bounds_is_refused(getkey):
    field = small_field(getkey(), condition=5)
    both = measures(field)
    with pytest.raises(ValueError, match=r"`low` must be in \[0, 0\.7\), below `high`; got -0\.1"):
        replace(both, low=-0.1)
    with pytest.raises(ValueError, match=r"`high` must be in \(0, 1\); got 1\.0"):
        replace(both, high=1.0)
    with pytest.raises(ValueError, match=r"`low` must be in \[0, 0\.7\), below `high`; got 0\.8"):
        replace(both, low=0.8)
    for discount in (0.2, 0.9):
        with pytest.raises(ValueError, match=rf"`discount` must be in \[0\.3, 0\.7\]; got {discount}"):
            both.at(discount)
    with pytest.raises(ValueError, match=r"`first` must be in \[0\.3, 0\.5\]; got 0\.6"):
        both.composed_futures(STATE, ACTION, 3, getkey(), first=0.6, actor=POLICY)
    with pytest.raises(ValueError, match="must not be a MonteCarloTarget, whose futures have one discount"):
        measures(field, fz.MonteCarloTarget())
