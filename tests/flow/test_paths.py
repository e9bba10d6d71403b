"""The coefficients of each path against their definitions, and what the paths refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

import floqzoo as fz
from floqzoo.testing import Example
from floqzoo.testing.path_laws import nothing_overflows_between_the_ends, the_ends_of_time_are_finite


TIMES = np.linspace(0.02, 0.98, 25)


def coefficients(path):
    """alpha and beta at all times, read off the interpolation of 0 and 1."""

    def at(t):
        zero, one = jnp.zeros(1), jnp.ones(1)
        return jnp.concatenate([path.at(t, zero, one).x, path.at(t, one, zero).x])

    return np.asarray(jax.vmap(at)(jnp.asarray(TIMES, dtype=float))).T


def test_the_straight_paths():
    np.testing.assert_allclose(coefficients(fz.LinearPath()), [TIMES, 1 - TIMES], atol=1e-6)
    np.testing.assert_allclose(coefficients(fz.OptimalTransportPath(0.3)), [TIMES, 1 - 0.7 * TIMES], atol=1e-6)


def test_optimal_transport_ends_in_a_gaussian_around_its_data():
    end = fz.OptimalTransportPath(0.25).at(1.0, jnp.array([2.0]), jnp.array([-1.0]))
    np.testing.assert_allclose(end.x, [-1.0 + 0.25 * 2.0])


def test_the_trigonometric_path_is_a_quarter_circle():
    np.testing.assert_allclose(
        coefficients(fz.TrigonometricPath()), [np.sin(np.pi / 2 * TIMES), np.cos(np.pi / 2 * TIMES)], atol=1e-6
    )


@pytest.mark.parametrize(("low", "high"), [(0.1, 20.0), (0.5, 4.0)])
def test_the_variance_preserving_path_integrates_its_noise_rate(low, high):
    r"""$\alpha_t = \exp(-\frac12 \int_0^{1 - t} b(s) \, ds)$ with $b(s) = b_{\min} + s (b_{\max} - b_{\min})$."""
    alpha = [np.exp(-0.5 * quad(lambda s: low + s * (high - low), 0, 1 - t)[0]) for t in TIMES]
    found = coefficients(fz.VariancePreservingPath(low, high))
    np.testing.assert_allclose(found, [alpha, np.sqrt(1 - np.square(alpha))], atol=2e-6)


@pytest.mark.parametrize(
    "path", [fz.TrigonometricPath(), fz.VariancePreservingPath(), fz.VariancePreservingPath(1.0, 3.0)]
)
def test_paths_that_keep_the_variance_keep_it(path):
    np.testing.assert_allclose(np.sum(np.square(coefficients(path)), axis=0), 1, atol=1e-6)


def test_how_nearly_the_ends_are_reached_is_what_is_documented():
    np.testing.assert_allclose(fz.VariancePreservingPath().end_error, 0.0066, atol=5e-5)
    np.testing.assert_allclose(fz.OptimalTransportPath().end_error, 1e-4)


@pytest.mark.usefixtures("double")
def test_the_velocity_of_the_variance_preserving_path_grows_like_an_inverse_root():
    t = 1 - np.array([1e-4, 1e-6])
    path = fz.VariancePreservingPath()
    rates = [float(path.at(time, jnp.ones(1), jnp.zeros(1)).velocity[0]) for time in t]
    assert rates[1] / rates[0] == pytest.approx(10, rel=0.02)


@pytest.mark.parametrize("sigma", [0.0, 1.0, -0.1, float("nan")])
def test_optimal_transport_refuses_what_is_no_share(sigma):
    with pytest.raises(ValueError, match=r"`sigma_min` must be in \(0, 1\); got"):
        fz.OptimalTransportPath(sigma)


@pytest.mark.parametrize(
    ("low", "high", "name"),
    [(0.0, 1.0, "low"), (2.0, 1.0, "low"), (0.1, float("inf"), "high"), (0.1, 41.0, "high")],
)
def test_noise_rates_must_be_positive_and_ordered(low, high, name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        fz.VariancePreservingPath(low, high)


EXTREME = [
    *(fz.OptimalTransportPath(sigma) for sigma in (1e-38, 1e-7, 1 - 2**-24)),
    *(fz.VariancePreservingPath(*rates) for rates in ((0.001, 0.0011), (0.001, 40.0), (39.9, 40.0))),
]


@pytest.mark.parametrize("path", EXTREME, ids=repr)
@pytest.mark.parametrize("time", [2**-24, 0.01, 0.375, 0.99, 1 - 2**-24])
def test_paths_with_extreme_numbers_are_finite(path, time):
    x = jnp.ones(1)
    example = Example(jnp.asarray(time), jnp.asarray(0.5), x, x, (), x, x, x, seed=0)
    the_ends_of_time_are_finite(path, example)
    nothing_overflows_between_the_ends(path, example)


def test_points_are_clipped_at_the_root_of_the_largest_number():
    most = np.sqrt(np.finfo(np.float32).max)
    points = fz.LinearPath().at(jnp.asarray(0.5), jnp.array([1e19, 1e30]), jnp.array([-1e19, np.inf]))
    np.testing.assert_array_equal(points.velocity, [-2 * np.float32(1e19), 0.0])
    np.testing.assert_allclose(points.x, [0.0, most], rtol=1e-6)
    assert jnp.isnan(fz.LinearPath().at(0.5, jnp.array([jnp.nan]), jnp.ones(1)).x).all()


def test_a_sweep_of_noise_rates_is_one_map():
    """Hyperparameters are arrays: a path for each of many values, in one program."""
    highs = jnp.array([5.0, 10.0, 20.0])
    paths = jax.vmap(lambda high: fz.VariancePreservingPath(0.1, high))(highs)
    alphas = jax.vmap(lambda path: path.coefficients(0.5).alpha)(paths)
    wanted = [fz.VariancePreservingPath(0.1, float(high)).coefficients(0.5).alpha for high in highs]
    np.testing.assert_allclose(alphas, wanted, rtol=1e-6)
