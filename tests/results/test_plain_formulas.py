"""Every statistic that is shown to a user is its plain NumPy formula."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from floqzoo.learner.metric_mean import MetricMean, NonFiniteError, require_finite
from floqzoo.learner.scanned_update import ChunkMetrics, _first_non_finite, _mean
from floqzoo.results.inspection import described, inspection_of
from floqzoo.results.played_returns import PlayedReturns
from floqzoo.results.run_list import last_score
from floqzoo.rollout.evaluation import Evaluation
from floqzoo.runs.run_store import scores_by_step
from floqzoo.studies.critic_inside import CriticInside
from floqzoo.studies.report import mean_of
from floqzoo.studies.statistics import bootstrap_interval, interquartile_mean, mean_score
from floqzoo.training.report import _draw_policy, _score


def numbers(shape, low=-10.0, high=10.0):
    return arrays(float, shape, elements=st.floats(low, high, width=32))


rates = st.integers(0, 50).map(lambda successes: successes / 50)


def near(value):
    return pytest.approx(value, abs=1e-5, rel=1e-5, nan_ok=True)


@st.composite
def tables(draw, values):
    """Columns of an evaluation table: a row for each seed at each step, in any order of the steps' rows."""
    seeds = draw(st.integers(1, 4))
    steps = sorted(draw(st.sets(st.integers(1, 1000), min_size=1, max_size=4)))
    count = len(steps) * seeds
    score, error = (np.array(draw(st.lists(values, min_size=count, max_size=count))) for _ in range(2))
    return {
        "step": np.repeat(steps, seeds).astype(float),
        "seed": np.tile(np.arange(seeds), len(steps)).astype(float),
        "evaluation/success": score,
        "evaluation/success_standard_error": np.abs(error),
    }


def rows_at(table, step):
    return [
        (score, error)
        for at, score, error in zip(
            table["step"],
            table["evaluation/success"],
            table["evaluation/success_standard_error"],
            strict=True,
        )
        if at == step
    ]


def mean_and_error(rows):
    """By hand: that of a single seed is the error over its episodes, of several the one over seeds."""
    if len(rows) == 1:
        return rows[0]
    mean = sum(score for score, _ in rows) / len(rows)
    variance = sum((score - mean) ** 2 for score, _ in rows) / (len(rows) - 1)
    return mean, (variance / len(rows)) ** 0.5


@given(st.lists(numbers(st.integers(1, 9)), min_size=1, max_size=4))
def test_means_of_scores(tasks):
    assert mean_score(tasks) == near(sum(sum(seeds) / len(seeds) for seeds in tasks) / len(tasks))
    every = sorted(score for seeds in tasks for score in seeds)
    dropped = len(every) // 4
    middle = every[dropped : len(every) - dropped]
    assert interquartile_mean(tasks) == near(sum(middle) / len(middle))


@given(numbers(st.integers(1, 9)))
def test_a_mean_of_a_study_and_its_standard_error(values):
    found, count = mean_of(values), len(values)
    assert found.mean == near(sum(values) / count)
    error = (sum((values - sum(values) / count) ** 2) / (count - 1) / count) ** 0.5 if count > 1 else np.nan
    assert found.error == near(error)


@settings(max_examples=20)
@given(numbers(3), st.sampled_from((0.5, 0.8, 0.95)), st.integers(0, 9))
def test_a_bootstrap_interval_has_the_quantiles_of_all_resamples(seeds, confidence, seed):
    """The resamples of three seeds are 27, each as likely: the ends of the interval are quantiles of their means."""
    found = bootstrap_interval(mean_score, [seeds], confidence=confidence, resamples=8000, seed=seed)
    every = np.sort([(a + b + c) / 3 for a in seeds for b in seeds for c in seeds])
    assert found.value == near(sum(seeds) / 3)
    for end, level in ((found.low, (1 - confidence) / 2), (found.high, (1 + confidence) / 2)):
        around = [np.quantile(every, at, method="nearest") for at in np.clip([level - 0.03, level + 0.03], 0, 1)]
        assert around[0] - 1e-6 <= end <= around[1] + 1e-6


@given(
    st.integers(1, 6).flatmap(
        lambda count: st.tuples(arrays(float, count, elements=st.sampled_from((0.0, 1.0))), numbers(count))
    ),
    st.integers(1, 500),
)
def test_an_evaluation(columns, length):
    success, returns = columns
    count = len(success)
    lengths = length + np.arange(count)
    played = Evaluation(success, returns, lengths)
    found, share, mean = played.metrics("evaluation"), sum(success) / count, sum(returns) / count
    assert found["evaluation/success"] == near(share)
    assert found["evaluation/success_standard_error"] == near((share * (1 - share) / count) ** 0.5)
    assert found["evaluation/episode.return"] == near(mean)
    assert found["evaluation/episode.length"] == near(sum(lengths) / count)
    if count > 1:
        error = (sum((returns - mean) ** 2) / (count - 1) / count) ** 0.5
        assert found["evaluation/episode.return_standard_error"] == near(error)
    assert str(played) == f"{100 * played.success_rate:.0f} ± {100 * played.standard_error:.0f} %"


@given(st.lists(arrays(float, 5, elements=st.sampled_from((0.0, 1.0))), min_size=2, max_size=4))
def test_the_score_of_several_seeds_at_the_end_of_a_run(successes):
    played = {seed: Evaluation(each, np.zeros(5), np.ones(5, int)) for seed, each in enumerate(successes)}
    mean, error = mean_and_error([(20 * sum(each), 0.0) for each in successes])
    each = ", ".join(f"{seed}: {20 * sum(each):.0f} %" for seed, each in enumerate(successes))
    assert _score("policy", played)["policy"] == f"{mean:.0f} ± {error:.0f} % over {len(successes)} seeds ({each})"


@given(tables(rates))
def test_the_score_of_a_run_in_a_list(table):
    wanted = mean_and_error(rows_at(table, max(table["step"])))
    assert last_score(table, "evaluation/success") == near(wanted)


@given(tables(rates))
def test_the_best_checkpoint(table):
    found = scores_by_step(table)
    wanted = {step: mean_and_error(rows_at(table, step))[0] for step in set(table["step"])}
    assert found == near(wanted)


@settings(max_examples=15)
@given(tables(rates))
def test_a_learning_curve_and_its_band(table):
    figure, axes = plt.subplots()
    try:
        _draw_policy(axes, table, "success")
        curve, (band,) = axes.lines[-1].get_xydata(), axes.collections
        points = {(step, round(value, 6)) for step, value in band.get_paths()[0].vertices}
        for step, rate in curve:
            mean, error = mean_and_error(rows_at(table, step))
            assert rate == near(100 * mean)
            for end in (mean - error, mean + error):
                assert min(abs(100 * min(max(end, 0), 1) - value) for at, value in points if at == step) < 1e-4
    finally:
        plt.close(figure)


@given(
    arrays(np.float32, (2, 6), elements=st.sampled_from((0.0, 1.5, np.nan, np.inf))),
    st.integers(0, 100),
)
def test_the_first_bad_update(values, earlier):
    metrics = ChunkMetrics({}, {}, {"loss": _first_non_finite(values)})
    bad = [(update, seed) for update in range(6) for seed in range(2) if not np.isfinite(values[seed, update])]
    if not bad:
        return require_finite(metrics, (4, 7), earlier, 6)
    update, seed = min(bad)
    with pytest.raises(NonFiniteError, match=f"seed {(4, 7)[seed]} .*in update {earlier + update + 1:,}") as error:
        require_finite(metrics, (4, 7), earlier, 6)
    assert error.value.update == earlier + update + 1
    return None


@settings(max_examples=20)
@given(st.lists(st.tuples(numbers((2, 4)), arrays(bool, (2, 4))), min_size=1, max_size=3))
def test_a_logged_metric_is_the_mean_over_the_updates_in_which_it_occurred(chunks):
    total = MetricMean()
    for values, happened in chunks:
        values = values.astype(np.float32)
        means = {"always": _mean(values, None), "at times": _mean(values, happened)}
        total.add(ChunkMetrics(means, {"at times": happened.sum(axis=1)}, {}), 4)
    found = total.take()
    for seed in range(2):
        rows = [(value, is_so) for v, h in chunks for value, is_so in zip(v[seed], h[seed], strict=True)]
        occurred = [value for value, is_so in rows if is_so]
        assert found["always"][seed] == near(sum(value for value, _ in rows) / len(rows))
        assert found["at times"][seed] == near(sum(occurred) / len(occurred) if occurred else np.nan)


@st.composite
def inspections(draw):
    members, batch, copies, width, steps = (draw(st.integers(1, 3)) for _ in range(5))
    inside = CriticInside(
        draw(numbers((members, batch, copies))),
        draw(numbers((batch, members, copies))),
        draw(numbers((members, batch, width))),
        draw(arrays(int, members, elements=st.integers(1, 9))),
        draw(numbers((2, batch))),
    )
    lengths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    episode = np.repeat(np.arange(len(lengths)), lengths)
    reached = (
        draw(arrays(float, len(lengths), elements=st.sampled_from((0.0, 1.0))))
        if draw(st.booleans())
        else np.full(len(lengths), np.nan)
    )
    steps = len(episode)
    unknown = draw(arrays(float, steps, elements=st.sampled_from((0.0, 0.005, 0.01, 0.02, 1.0))))
    q, returns = draw(numbers(steps)).round(2), draw(numbers(steps)).round(2)
    played = PlayedReturns(np.zeros((steps, 1)), np.zeros((steps, 1)), returns, unknown, episode, reached[episode])
    return inside, played, q, reached


@given(inspections())
def test_the_numbers_of_an_inspection(case):
    inside, played, q, reached = case
    found = inspection_of(inside, played, q, seed=3, step=40)
    outputs = [list(copies) for member in inside.ends for copies in member]
    means = [sum(copies) / len(copies) for copies in outputs]
    variances = [
        sum((x - mean) ** 2 for x in copies) / len(copies) for copies, mean in zip(outputs, means, strict=True)
    ]
    norms = [sum(x**2 for x in row) ** 0.5 for member in inside.features for row in member]
    assert (found.seed, found.step, found.feature_width) == (3, 40, inside.features.shape[2])
    assert found.q == near(sum(means) / len(means))
    assert found.q_noise_variance == near(sum(variances) / len(variances))
    assert found.path_curvature == near(sum(inside.curvature.flat) / inside.curvature.size)
    assert found.feature_norm == near(sum(norms) / len(norms))
    assert found.effective_rank == near(sum(inside.ranks) / len(inside.ranks))
    assert found.success == near(sum(reached) / len(reached))
    assert any("success" in label for label, _ in described(found)) == (not np.isnan(reached).any())
    known = [(x, y) for x, y, rest in zip(q, played.returns, played.unknown, strict=True) if rest <= 0.01]
    assert found.return_bias == near(sum(x - y for x, y in known) / len(known) if known else np.nan)
    if len({x for x, _ in known}) < 2 or len({y for _, y in known}) < 2:
        assert np.isnan(found.return_correlation)
    else:
        x, y = (np.array(column) - sum(column) / len(known) for column in zip(*known, strict=True))
        assert found.return_correlation == near(sum(x * y) / (sum(x * x) * sum(y * y)) ** 0.5)
