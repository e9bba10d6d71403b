"""The dataset: uniform draws of valid transitions only, and nothing bad let in."""

from dataclasses import replace

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given
from scipy.stats import chisquare

from floqzoo.tasks import make_dataset


EPISODES = st.lists(st.integers(1, 6), min_size=1, max_size=6).filter(lambda lengths: max(lengths) > 1)


def numbered(lengths):
    """Episodes whose observations are (episode, step), and whose other arrays follow from them."""
    rows = np.array([(episode, step) for episode, length in enumerate(lengths) for step in range(length)], np.float32)
    last = np.array([step == length - 1 for length in lengths for step in range(length)])
    return {
        "observations": rows,
        "actions": (rows[:, :1] - rows[:, 1:]) / 10,
        "rewards": np.where(last, -1000.0, -rows.sum(axis=1)).astype(np.float32),
        "masks": (rows[:, 1] % 2).astype(np.float32),
        "terminals": last,
    }


@given(lengths=EPISODES, seed=st.integers(0, 2**31))
def test_a_draw_never_leaves_its_episode(lengths, seed):
    batch = make_dataset(**numbered(lengths)).sample(jr.key(seed), 64)
    episode, step = np.asarray(batch.observation).T
    np.testing.assert_array_equal(batch.next_observation, np.stack([episode, step + 1], axis=1))
    assert (step + 1 < np.array(lengths)[episode.astype(int)]).all()
    np.testing.assert_allclose(batch.action[:, 0], (episode - step) / 10)
    np.testing.assert_allclose(batch.reward, -(episode + step))
    np.testing.assert_array_equal(batch.discount, step % 2)


@pytest.mark.slow
@given(lengths=EPISODES)
def test_every_transition_is_there_once(lengths):
    dataset = make_dataset(**numbered(lengths))
    assert dataset.size == sum(lengths) - len(lengths)
    observed = np.asarray(dataset.transitions(jnp.arange(dataset.size)).observation)
    expected = [(episode, step) for episode, length in enumerate(lengths) for step in range(length - 1)]
    np.testing.assert_array_equal(observed, expected)


def test_the_fingerprint_tells_every_array():
    content = numbered([3, 4])
    dataset = make_dataset(**content)
    starts = dataset.starts[:-1]
    known = replace(dataset, next_starts=starts, next_last=dataset.last)
    names = ("observations", "actions", "rewards", "masks", "starts")
    others = [replace(dataset, **{name: getattr(dataset, name).at[0].add(1)}) for name in names]
    others += [dataset, known, replace(known, next_starts=starts[1:])]
    assert len({each.fingerprint() for each in others}) == len(others)
    assert make_dataset(**content).fingerprint() == dataset.fingerprint()


def test_draws_are_uniform():
    dataset = make_dataset(**numbered([3, 1, 7, 2]))
    drawn = np.asarray(dataset.sample(jr.key(0), 100_000).observation)
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == dataset.size
    assert chisquare(counts).pvalue > 1e-3


def test_sampling_works_inside_transformations():
    dataset = make_dataset(**numbered([4, 5]))
    keys = jr.split(jr.key(0), 6)
    one_by_one = jax.tree.map(lambda *parts: jnp.stack(parts), *[dataset.sample(key, 3) for key in jr.clone(keys)])
    scanned = jax.jit(lambda data, keys: jax.lax.scan(lambda _, key: (None, data.sample(key, 3)), None, keys)[1])
    mapped = jax.vmap(lambda key: dataset.sample(key, 3))
    for result in (scanned(dataset, jr.clone(keys)), mapped(jr.clone(keys))):
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), result, one_by_one))


def test_the_reward_range_is_that_of_transitions():
    assert make_dataset(**numbered([4, 5])).reward_range == (-4.0, 0.0)


def test_the_fingerprint_is_of_the_contents():
    arrays = numbered([3, 4])
    fingerprint = make_dataset(**arrays).fingerprint()
    assert make_dataset(**{key: array.copy() for key, array in arrays.items()}).fingerprint() == fingerprint
    others = {fingerprint, make_dataset(**numbered([4, 3])).fingerprint()}
    for key in ("observations", "actions", "rewards", "masks"):
        changed = arrays[key].copy()
        changed.flat[0] = 1.0 - changed.flat[0]
        others.add(make_dataset(**{**arrays, key: changed}).fingerprint())
    assert len(others) == 6


def with_value(array, value):
    array = array.copy()
    array.flat[2] = value
    return array


BAD = {
    "`observations` must have `ndim` 2": lambda a: {"observations": a["observations"][:, 0]},
    r"`actions` must have `ndim` 2 and no empty axis; got the shape \(7, 0\)": lambda a: {
        "actions": a["actions"][:, :0]
    },
    "`actions` must have 7 rows, as `observations` has; got 6": lambda a: {"actions": a["actions"][1:]},
    "`rewards` must have `ndim` 1": lambda a: {"rewards": a["rewards"][:, None]},
    "`masks` must have 7 rows, as `observations` has; got 5": lambda a: {"masks": a["masks"][2:]},
    "`terminals` must have 7 rows, as `observations` has; got 6": lambda a: {"terminals": a["terminals"][1:]},
    "`observations` must have a floating-point dtype .*; got int64": lambda a: {
        "observations": a["observations"].astype(int)
    },
    "`observations` must have a floating-point dtype .*; got float64": lambda a: {
        "observations": a["observations"].astype(float)
    },
    "`rewards` must have dtype float32, as `observations` has; got float64": lambda a: {
        "rewards": a["rewards"].astype(float)
    },
    "`masks` must have dtype float32, as `observations` has; got bool": lambda a: {"masks": a["masks"].astype(bool)},
    "`terminals` must have dtype bool; got float32": lambda a: {"terminals": a["terminals"].astype(np.float32)},
    "`observations` has a NaN or an infinity, first in row 1": lambda a: {
        "observations": with_value(a["observations"], np.nan)
    },
    "`rewards` has a NaN or an infinity, first in row 2": lambda a: {"rewards": with_value(a["rewards"], np.inf)},
    r"`actions` reach 1\.5": lambda a: {"actions": with_value(a["actions"], -1.5)},
    r"`masks` must be 0 or 1; row 2 has 0\.5": lambda a: {"masks": with_value(a["masks"], 0.5)},
    "`terminals` does not end with True": lambda a: {"terminals": np.zeros(7, bool)},
    "`terminals` is True everywhere": lambda a: {"terminals": np.ones(7, bool)},
    r"`observations` must have `ndim` 2 and no empty axis; got the shape \(\)": lambda a: {
        "observations": np.array(0.0, np.float32)
    },
    "no empty axis": lambda a: {key: array[:0] for key, array in a.items()},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arrays_are_refused(message):
    arrays = numbered([3, 4])
    make_dataset(**arrays)
    with pytest.raises(ValueError, match=message):
        make_dataset(**{**arrays, **BAD[message](arrays)})
