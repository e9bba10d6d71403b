"""Laws of the statistics, and what their intervals cover."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from floqzoo.studies.statistics import (
    bootstrap_interval,
    interquartile_mean,
    mean_score,
    probability_of_improvement,
)


scores = arrays(float, st.integers(1, 9), elements=st.floats(-10, 10, width=32))
tasks = st.lists(scores, min_size=1, max_size=4)
SETTINGS = {"resamples": 50}


@given(tasks, st.randoms(use_true_random=False))
def test_seeds_and_tasks_have_no_order(tasks, random):
    shuffled = [np.array(random.sample(list(seeds), len(seeds))) for seeds in random.sample(tasks, len(tasks))]
    for statistic in (mean_score, interquartile_mean):
        assert statistic(shuffled) == pytest.approx(statistic(tasks), abs=1e-9)


@given(tasks, st.floats(-5, 5), st.floats(0.1, 5))
def test_a_change_of_units_changes_the_statistics_likewise(tasks, shift, scale):
    moved = [scale * seeds + shift for seeds in tasks]
    for statistic in (mean_score, interquartile_mean):
        assert statistic(moved) == pytest.approx(scale * statistic(tasks) + shift, abs=1e-6)


@given(st.integers(1, 6), st.floats(1e3, 1e6))
def test_an_outlier_in_a_quarter_is_not_seen(quarter, outlier):
    seeds = np.zeros(4 * quarter)
    seeds[:quarter] = outlier
    assert interquartile_mean([seeds]) == 0


@given(arrays(float, 7, elements=st.floats(-10, 10, width=32)))
def test_the_interquartile_mean_is_scipys_trimmed_mean(seeds):
    stats = pytest.importorskip("scipy.stats")
    assert interquartile_mean([seeds]) == pytest.approx(stats.trim_mean(seeds, 0.25), abs=1e-9)


@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=4))
def test_one_of_two_methods_is_better_or_the_other_is(pairs):
    ours, theirs = zip(*pairs, strict=True)
    forth, back = probability_of_improvement(ours, theirs), probability_of_improvement(theirs, ours)
    assert forth + back == pytest.approx(1)
    assert 0 <= forth <= 1
    assert probability_of_improvement(ours, ours) == pytest.approx(0.5)


@given(scores, scores)
def test_the_probability_of_improvement_is_mann_whitneys(ours, theirs):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.mannwhitneyu(ours, theirs).statistic / (len(ours) * len(theirs))
    assert probability_of_improvement([ours], [theirs]) == pytest.approx(expected)


@given(st.lists(arrays(float, st.integers(2, 6), elements=st.floats(-10, 10, width=32)), min_size=1, max_size=3))
def test_an_interval_lies_within_the_scores_and_is_the_same_again(tasks):
    first, again = (bootstrap_interval(interquartile_mean, tasks, **SETTINGS) for _ in range(2))
    assert first == again
    low, high = min(seeds.min() for seeds in tasks), max(seeds.max() for seeds in tasks)
    assert low - 1e-9 <= first.low <= first.high <= high + 1e-9


def test_equal_scores_have_an_interval_of_no_width():
    found = bootstrap_interval(mean_score, [np.full(5, 0.3)], **SETTINGS)
    assert found.low == found.high == pytest.approx(0.3)


def test_one_seed_says_nothing_of_the_next():
    found = bootstrap_interval(mean_score, [np.array([0.3])], **SETTINGS)
    assert found.value == 0.3
    assert np.isnan([found.low, found.high]).all()


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    random, covered = np.random.default_rng(0), 0
    for trial in range(200):
        tasks = [random.normal(mean, 1.0, size=16) for mean in (0.0, 1.0, 2.0)]
        found = bootstrap_interval(mean_score, tasks, confidence=0.9, resamples=200, seed=trial)
        covered += found.low <= 1.0 <= found.high
    assert 0.82 <= covered / 200 <= 0.96


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_score([]), "at least one task"),
        (lambda: interquartile_mean([np.zeros(0)]), "at least one seed per task"),
        (lambda: probability_of_improvement([np.zeros(1)], []), "must have as many tasks as `tasks`, 1; got 0"),
        (lambda: bootstrap_interval(mean_score, [np.zeros(2)], confidence=0.0), "`confidence`"),
        (lambda: bootstrap_interval(mean_score, [np.zeros(2)], confidence=1.0), "`confidence`"),
        (lambda: bootstrap_interval(mean_score, [np.zeros(2)], resamples=0), "`resamples`"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
