"""Distances whose values are known."""

import itertools

import numpy as np
import pytest

from floqzoo.studies.distances import earth_movers_distance, maximum_mean_discrepancy


ot = pytest.importorskip("ot")


def test_a_shift_costs_its_length():
    x = np.random.default_rng(0).normal(size=(40, 2))
    shift = np.array([3.0, 4.0])
    assert earth_movers_distance(x, x + shift) == pytest.approx(5.0)
    assert earth_movers_distance(x, x + shift, squared=True) == pytest.approx(25.0)
    assert earth_movers_distance(x, x[::-1].copy()) == pytest.approx(0.0, abs=1e-6)


def test_on_a_line_it_is_the_area_between_the_quantiles():
    random = np.random.default_rng(0)
    x, y = random.normal(size=50), 2 * random.normal(size=50) + 1
    expected = np.mean(np.abs(np.sort(x) - np.sort(y)))
    assert earth_movers_distance(x[:, None], y[:, None]) == pytest.approx(expected)


@pytest.mark.parametrize("squared", [False, True])
def test_it_is_the_least_cost_of_all_permutations(squared):
    x, y = np.random.default_rng(0).normal(size=(2, 6, 3))
    costs = np.linalg.norm(x[:, None] - y[None], axis=2) ** (2 if squared else 1)
    least = min(np.mean(costs[np.arange(6), order]) for order in map(list, itertools.permutations(range(6))))
    assert earth_movers_distance(x, y, squared=squared) == pytest.approx(least)


def test_sets_may_differ_in_size():
    assert earth_movers_distance(np.zeros((3, 1)), np.array([[0.0], [1.0]])) == pytest.approx(0.5)


def test_the_discrepancy_is_unbiased_and_sees_a_shift():
    random = np.random.default_rng(0)
    same = [
        maximum_mean_discrepancy(random.normal(size=(64, 2)), random.normal(size=(64, 2)), bandwidth=1.0)
        for _ in range(200)
    ]
    assert abs(np.mean(same)) < 6 * np.std(same) / 200**0.5
    x = random.normal(size=(400, 2))
    # For Gaussians of unit covariance and h = 1 in two dimensions: 2/3 (1 - exp(-|shift|^2 / 6)).
    expected = 2 / 3 * (1 - np.exp(-4 / 6))
    found = maximum_mean_discrepancy(x, random.normal([2.0, 0.0], size=(400, 2)), bandwidth=1.0)
    assert found == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(bad):
    x, y = np.zeros((3, 2)), np.zeros((3, 2))
    y[2, 0] = bad
    for distance in (earth_movers_distance, lambda a, b: maximum_mean_discrepancy(a, b, bandwidth=1.0)):
        with pytest.raises(ValueError, match="`y` has a NaN or an infinity, first in row 2"):
            distance(x, y)


def test_one_sample_has_no_unbiased_estimate():
    with pytest.raises(ValueError, match="at least 2 samples each; got 2 and 1"):
        maximum_mean_discrepancy(np.zeros((2, 1)), np.zeros((1, 1)), bandwidth=1.0)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, np.nan])
def test_a_bandwidth_is_above_zero(bandwidth):
    with pytest.raises(ValueError, match="`bandwidth` must be above 0"):
        maximum_mean_discrepancy(np.zeros((2, 1)), np.zeros((2, 1)), bandwidth=bandwidth)
