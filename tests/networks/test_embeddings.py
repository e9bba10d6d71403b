"""What embeddings of values and times keep of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import floqzoo as fz
from floqzoo.testing.examples import magnitudes, sixteenths


FLOQ = fz.HLGauss(-101.0, 1.0)
shares = st.floats(0, 1, width=32)


def histogram(embedding, value):
    return np.asarray(jax.jit(type(embedding).embed_point)(embedding, jnp.asarray([value], dtype=float)))


@given(shares, st.sampled_from((2, 16, 51)), st.sampled_from((0.75, 16.0)))
def test_a_value_becomes_a_distribution_over_bins(share, edges, sigma):
    embedding = fz.HLGauss(-3.0, 5.0, edges, sigma)
    mass = histogram(embedding, -3 + 8 * share)
    assert mass.shape == (edges - 1,)
    assert np.all(mass >= 0)
    np.testing.assert_allclose(mass.sum(), 1, atol=1e-5)
    assert np.all(np.diff(np.cumsum(mass)) >= 0)


@given(shares)
def test_every_bin_of_floq_stays_active(share):
    """With a width of 16 bins no feature is ever without mass."""
    mass = histogram(FLOQ, -101 + 102 * share)
    assert mass.min() > 1e-4
    assert mass.max() < 0.06


@given(sixteenths(-2, 2), sixteenths(-2, 2))
def test_the_higher_value_has_the_higher_distribution(a, b):
    """Cumulative sums are ordered as the values are: the higher value has less mass below every edge."""
    embedding = fz.HLGauss(-3.0, 3.0, 16, 2.0)
    low, high = sorted((a, b))
    gap = np.cumsum(histogram(embedding, low)) - np.cumsum(histogram(embedding, high))
    assert np.all(gap > -1e-5)
    assert low == high or gap.max() > 1e-4


@given(st.floats(0.25, 0.75, width=32))
def test_the_mean_tracks_the_value_inside_the_range(share):
    """For a narrow Gaussian, the mean of the bins' centres is the value, to a small share of a bin."""
    embedding = fz.HLGauss(-3.0, 5.0, 51, 1.5)
    edges = np.linspace(-3, 5, 51)
    value = -3 + 8 * share
    mean = histogram(embedding, value) @ (edges[1:] + edges[:-1]) / 2
    assert abs(mean - value) < 0.02 * (edges[1] - edges[0])


def test_masses_are_those_of_the_gaussian_cut_at_the_range():
    from scipy.stats import truncnorm

    edges, sigma, value = np.linspace(-3, 5, 9), 1.25 * 1.0, 0.6
    cut = truncnorm((-3 - value) / sigma, (5 - value) / sigma, value, sigma)
    np.testing.assert_allclose(histogram(fz.HLGauss(-3.0, 5.0, 9, 1.25), value), np.diff(cut.cdf(edges)), atol=1e-6)


@pytest.mark.parametrize("embedding", [FLOQ, fz.HLGauss(-1.0, 0.0, 51, 0.75), fz.HLGauss(-0.1, 0.1, 8, 2.0)])
def test_a_value_far_outside_has_the_masses_of_four_widths(embedding):
    low, high = float(embedding.low.value), float(embedding.high.value)
    width = float(embedding.sigma.value) * (high - low) / (embedding.edges - 1)
    for end, sign in ((low, -1), (high, 1)):
        nearest = histogram(embedding, end + sign * 4 * width)
        np.testing.assert_allclose(nearest.sum(), 1, atol=1e-5)
        for distance in (5 * width, 300.0, 1e30):
            np.testing.assert_allclose(histogram(embedding, end + sign * distance), nearest, atol=1e-6)
        inside = histogram(embedding, end + sign * 2 * width)
        assert np.abs(inside - nearest).max() > 1e-2


RANGES = [(0.0, 1e-20), (-5e-20, 5e-20), (-1e20, 0.0), (-5e19, 5e19), (1e6, 1e6 + 1), (1.0, 1 + 2**-23), (-101.0, 1.0)]
EXTREME = [
    *(fz.NormalisedValue(low, high) for low, high in RANGES),
    *(
        fz.HLGauss(low, high, edges, sigma)
        for low, high in RANGES
        for edges, sigma in ((51, 16.0), (51, 8.0), (51, 0.001), (2, 100.0), (301, 0.001))
    ),
]


@pytest.mark.parametrize("embedding", EXTREME, ids=repr)
def test_features_and_gradients_are_finite_at_every_number(embedding):
    """Of the widest and the narrowest ranges too, at numbers of all sizes and near the range."""
    low, high = float(embedding.low.value), float(embedding.high.value)
    near = [low + share * (high - low) for share in (-1e7, -10.0, -0.5, 0.0, 0.3, 0.5, 1.0, 1.5, 1e3, 1e7)]
    x = jnp.asarray([sign * size for size in magnitudes(jnp.float32) for sign in (1, -1)] + near)[:, None]
    assert jnp.isfinite(jax.vmap(embedding.embed_point)(x)).all()
    assert jnp.isfinite(jax.vmap(jax.jacrev(embedding.embed_point))(x)).all()


def test_coordinates_are_embedded_one_after_another():
    point = jnp.array([-1.0, 2.0])
    both = fz.HLGauss(-3.0, 3.0, 5).embed_point(point)
    np.testing.assert_array_equal(both[:4], fz.HLGauss(-3.0, 3.0, 5).embed_point(point[:1]))
    np.testing.assert_array_equal(both[4:], fz.HLGauss(-3.0, 3.0, 5).embed_point(point[1:]))


@given(sixteenths(-3, 3))
def test_a_normalised_value_is_its_share_of_the_range(value):
    share = fz.NormalisedValue(-3.0, 5.0).embed_point(jnp.asarray([value], dtype=float))
    np.testing.assert_allclose(share, [(value + 3) / 8], atol=1e-6)


GRID = np.linspace(0, 1, 257, dtype=np.float32)


WAVES = [fz.CosineTime(), fz.FourierTime(), fz.FourierTime(1), fz.networks.SinusoidalTime()]


@pytest.mark.parametrize("embedding", WAVES, ids=repr)
def test_waves_are_bounded_and_tell_times_apart(embedding):
    features = np.asarray(jax.vmap(embedding.embed_time)(jnp.asarray(GRID)))
    assert np.abs(features).max() <= 1
    assert len(np.unique(features, axis=0)) == len(GRID)


def test_time_features_are_what_they_are_said_to_be():
    np.testing.assert_allclose(fz.RawTime().embed_time(0.25), [0.25])
    np.testing.assert_allclose(fz.CosineTime().embed_time(0.25), [np.cos(0.25)], rtol=1e-6)
    np.testing.assert_allclose(fz.FourierTime(3).embed_time(0.25), np.cos(np.pi * 0.25 * np.arange(1, 4)), atol=1e-6)
    sines = fz.networks.SinusoidalTime(6).embed_time(0.25)
    angles = 0.25 * np.array([1000.0, 10.0, 0.1])
    np.testing.assert_allclose(sines, [*np.sin(angles), *np.cos(angles)], atol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fz.HLGauss(1.0, 1.0), "`low` must be below `high`"),
        (lambda: fz.HLGauss(0.0, 1.0, edges=1), "`edges` must be at least 2; got 1"),
        (lambda: fz.HLGauss(0.0, 1.0, sigma=0.0), r"`sigma` must be in \[0.001, 5000\]; got 0"),
        (lambda: fz.HLGauss(-1e38, 1e38), "`low` must be between 1e-20 and 1e20 below `high`, which is .*; got -1e.38"),
        (lambda: fz.HLGauss(0.0, 1e-38), "`low` must be between 1e-20 and 1e20 below `high`, which is .*; got 0"),
        (lambda: fz.NormalisedValue(-1e38, 1e38), "`low` must be between 1e-20 and 1e20 below `high`"),
        (lambda: fz.NormalisedValue(2.0, 1.0), "`low` must be below `high`"),
        (lambda: fz.FourierTime(0), "`time_features` must be at least 1; got 0"),
        (lambda: fz.networks.SinusoidalTime(5), "`time_features` must be even and at least 4; got 5"),
    ],
)
def test_embeddings_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
