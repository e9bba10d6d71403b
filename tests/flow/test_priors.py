"""Named constructors, densities and refusals of the priors, and the times at which flows are trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

import floqzoo as fz
from floqzoo.testing.examples import magnitudes, sixteenths


@given(sixteenths(-3, 3), sixteenths(1, 3), st.floats(0, 0.999), st.floats(0.01, 1))
def test_the_interval_of_floq_is_a_share_of_the_range_of_returns(least, span, discount, coverage):
    prior = fz.UniformPrior.from_rewards((least, least + span), discount, noise_coverage=coverage)
    returns = np.array([least, least + span]) / (1 - discount)
    np.testing.assert_allclose([prior.low.value, prior.high.value], coverage * returns, rtol=1e-5)


def test_the_interval_of_the_papers():
    prior = fz.UniformPrior.from_rewards((-1.0, 0.0), 0.99)
    np.testing.assert_allclose([prior.low.value, prior.high.value], [-10.0, 0.0], rtol=1e-6)


def test_densities_are_those_of_scipy():
    x = np.array([-1.5, 0.25, 0.75])
    gaussian = fz.GaussianPrior(0.5, 2.0).log_prob(jnp.asarray(x))
    np.testing.assert_allclose(gaussian, stats.norm(0.5, 2.0).logpdf(x).sum(), rtol=1e-6)
    uniform = fz.UniformPrior(-2.0, 1.0).log_prob(jnp.asarray(x))
    np.testing.assert_allclose(uniform, stats.uniform(-2.0, 3.0).logpdf(x).sum(), rtol=1e-6)


@given(st.integers(1, 31).map(lambda numerator: numerator / 32), sixteenths(-2, 2), sixteenths(1, 3))
def test_quantiles_are_those_of_scipy(level, start, width):
    gaussian = fz.GaussianPrior(start, width).quantile(level)
    np.testing.assert_allclose(gaussian, stats.norm(start, width).ppf(level), rtol=1e-5, atol=1e-6)
    uniform = fz.UniformPrior(start, start + width).quantile(level)
    np.testing.assert_allclose(uniform, stats.uniform(start, width).ppf(level), rtol=1e-5, atol=1e-6)


def test_a_point_with_one_coordinate_outside_the_interval_has_no_density():
    assert fz.UniformPrior(0.0, 1.0).log_prob(jnp.array([0.5, 1.5])) == -jnp.inf


def test_a_sweep_of_intervals_is_one_map(getkey):
    key, lows = getkey(), jnp.array([-2.0, -1.0])
    draws = jax.vmap(lambda low: fz.UniformPrior(low, 0.0).sample(key, (5,)))(lows)
    assert jnp.all((draws >= lows[:, None]) & (draws <= 0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fz.UniformPrior(1.0, 1.0), "`low` must be below `high`"),
        (lambda: fz.UniformPrior(0.0, float("inf")), "`high` must be finite"),
        (lambda: fz.UniformPrior(-1e38, 1e38), "`low` must be between 1e-20 and 1e20 below `high`"),
        (lambda: fz.UniformPrior(0.0, 1e-38), "`low` must be between 1e-20 and 1e20 below `high`"),
        (lambda: fz.GaussianPrior(scale=0.0), r"`scale` must be in \[1e-20, 1e20\]; got 0"),
        (lambda: fz.GaussianPrior(0.0, 1e-30), r"`scale` must be in \[1e-20, 1e20\]; got 1e-30"),
        (lambda: fz.GaussianPrior(mean=float("nan")), "`mean` must be finite"),
        (
            lambda: fz.UniformPrior.from_rewards((-2.0, -2.0), 0.9),
            r"maximum; got \(-2.*no episode reaches the goal, use more",
        ),
        (lambda: fz.UniformPrior.from_rewards((-1.0, 0.0), 1.0), r"`discount` must lie in \[0, 1\); got 1.0"),
        (
            lambda: fz.UniformPrior.from_rewards((-1.0, 0.0), 0.9, noise_coverage=0.0),
            "`noise_coverage` must be above 0",
        ),
    ],
)
def test_what_is_no_distribution_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


EXTREME = [
    *(fz.GaussianPrior(mean, scale) for mean in (0.0, -1e10, 3e38) for scale in (1e-20, 1e20)),
    *(fz.UniformPrior(low, high) for low, high in ((0.0, 1e-20), (-1e20, 0.0), (-5e19, 5e19), (1e6, 1e6 + 1))),
]


@pytest.mark.parametrize("prior", EXTREME, ids=repr)
def test_gradients_are_finite_at_every_number(prior):
    """Of the widest and the narrowest priors too, nearby and far away."""
    mean, width = float(prior.quantile(0.5)), float(prior.quantile(0.75) - prior.quantile(0.25))
    near = [mean + share * width for share in (-1e15, -1e10, -1.0, 0.0, 0.3, 1.0, 1e10, 1e15)]
    x = jnp.asarray([sign * size for size in magnitudes(jnp.float32) for sign in (1, -1)] + near)
    density, gradient = jax.vmap(jax.value_and_grad(lambda x: prior.log_prob(x[None])))(x)
    share, slope = jax.vmap(jax.value_and_grad(lambda x: prior.cdf(x[None])[0]))(x)
    assert jnp.all(density < jnp.inf) and jnp.isfinite(density).any()
    assert all(jnp.isfinite(numbers).all() for numbers in (gradient, share, slope))


def test_uniform_times_are_uniform_and_others_are_what_they_say(getkey):
    """By the bound of Dvoretzky, Kiefer and Wolfowitz, at a rate of false alarms of 1e-9."""
    count = 4096
    bound = np.sqrt(np.log(2e9) / (2 * count))
    assert stats.kstest(fz.UniformTime().sample_times(getkey(), (count,)), "uniform").statistic < bound
    until = fz.flow.UniformTimeUntil(0.5).sample_times(getkey(), (count,))
    assert stats.kstest(2 * until, "uniform").statistic < bound
    np.testing.assert_array_equal(fz.ZeroTime().sample_times(getkey(), (3,)), np.zeros(3))


@given(sixteenths(-8, 8), sixteenths(-2, 2), sixteenths(1, 3))
def test_distribution_functions_are_those_of_scipy(x, start, width):
    """Also outside of the interval of a uniform prior."""
    gaussian = fz.GaussianPrior(start, width).cdf(jnp.asarray([x]))
    np.testing.assert_allclose(gaussian, stats.norm(start, width).cdf([x]), rtol=1e-4, atol=1e-7)
    uniform = fz.UniformPrior(start, start + width).cdf(jnp.asarray([x]))
    np.testing.assert_allclose(uniform, stats.uniform(start, width).cdf([x]), rtol=1e-5, atol=1e-7)
