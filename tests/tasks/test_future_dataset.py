"""Futures of recorded episodes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floqzoo.learner import ActionChunks, GeometricFuture, NStep, UniformBatches
from floqzoo.tasks import make_dataset


def two_episodes(lengths=(40, 3)):
    """Episodes whose observations are (episode, time)."""
    times = np.concatenate([np.arange(n) for n in lengths])
    episodes = np.repeat(np.arange(len(lengths)), lengths)
    ends = np.cumsum(lengths) - 1
    return make_dataset(
        observations=np.stack([episodes, times], axis=1).astype(np.float32),
        actions=(times / 100).astype(np.float32)[:, None],
        rewards=np.zeros(len(times), np.float32),
        masks=np.ones(len(times), np.float32),
        terminals=np.isin(np.arange(len(times)), ends),
    )


def drawn(dataset, discount, key, count):
    return UniformBatches(GeometricFuture(discount)).draw_batch(dataset, None, jnp.asarray(0), key, count)


@pytest.mark.parametrize("discount", [0.0, 0.5, 0.9])
def test_futures_are_geometric_within_their_episode(discount, getkey):
    count = 40_000
    batch = eqx.filter_jit(drawn)(two_episodes(), discount, getkey(), count)
    np.testing.assert_array_equal(batch.future[:, 0], batch.observation[:, 0])
    np.testing.assert_array_equal(batch.next_observation[:, 1], batch.observation[:, 1] + 1)
    ahead = np.asarray(batch.future[:, 1] - batch.next_observation[:, 1])
    left = np.where(np.asarray(batch.observation[:, 0]) == 0, 39, 2) - np.asarray(batch.next_observation[:, 1])
    assert np.all(ahead >= np.minimum(left, 1))
    assert np.all(ahead <= left)
    # Where 10 steps are left, k has the geometric law up to 10.
    mine = ahead[left == 10]
    law = discount ** np.arange(10) * (1 - discount) / (1 - discount**10)
    shares = np.array([(mine == k).mean() for k in range(1, 11)])
    assert np.all(np.abs(shares - law) <= 6 * np.sqrt(law * (1 - law) / len(mine)) + 1e-6)


def test_the_next_action_is_the_one_that_was_taken_next(getkey):
    batch = drawn(two_episodes(), 0.9, getkey(), 64)
    np.testing.assert_allclose(batch.next_action[:, 0], batch.next_observation[:, 1] / 100, rtol=1e-6)


def test_each_state_knows_the_end_of_its_episode():
    np.testing.assert_array_equal(two_episodes().last, np.repeat([39, 42], [40, 3]))


@pytest.mark.parametrize("discount", [1.0, -0.5, np.nan])
def test_a_discount_outside_of_its_range_is_refused(discount):
    with pytest.raises(ValueError, match=r"`discount` must be in \[0, 1\)"):
        GeometricFuture(discount)


@pytest.mark.parametrize(
    "reader", [NStep(3, 0.9), ActionChunks(3, 0.9), GeometricFuture(0.9)], ids=lambda r: type(r).__name__
)
def test_a_reader_built_in_32_bits_reads_in_64(reader):
    """The readers above are built on import, before 64 bits are enabled."""
    with jax.enable_x64(True):
        dataset = two_episodes()
        batch = reader.read(dataset, dataset.starts[:4], jax.random.key(0))
    assert batch.reward.dtype == batch.next_observation.dtype == jnp.float32
