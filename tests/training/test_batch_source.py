import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from floqzoo.learner import BalancedReplay, FromDataset, SeededReplay
from floqzoo.protocols import BatchSource
from floqzoo.tasks import ReplayBuffer, make_dataset
from floqzoo.tasks.replay_buffer import ExploredStep


DRAWS = 4096
PLACE = jnp.asarray(0)


def dataset_of(size):
    """Transition number i pays -1 - i."""
    rows = np.arange(size + 1, dtype=np.float32)
    return make_dataset(
        observations=rows[:, None],
        actions=np.zeros((size + 1, 1), np.float32),
        rewards=-1 - rows,
        masks=np.ones(size + 1, np.float32),
        terminals=rows == size,
    )


write = jax.jit(lambda replay, new: replay.write(new))


def replay_of(dataset, slots, written):
    """New transition number i pays i."""
    replay = dataset.empty_replay(seeds=1, slots=slots, environments=1)
    for number in range(written):
        replay = write(replay, step_of(jnp.full((1, 1, 1), number, jnp.float32)))
    return replay


def step_of(point):
    over = jnp.zeros(point.shape[:2], bool)
    return ExploredStep(point, point, point[..., 0], point[..., 0], point, over=over, next_action=point)


def drawn_rewards(source, dataset, replay, batch_size=DRAWS, key=0):
    return np.asarray(source.draw_batch(dataset, replay, PLACE, jax.random.key(key), batch_size).reward)


def is_uniform_over(rewards, valid):
    values, counts = np.unique(rewards, return_counts=True)
    assert set(values) <= set(valid)
    all_counts = np.zeros(len(valid))
    all_counts[[list(valid).index(value) for value in values]] = counts
    return len(valid) == 1 or stats.chisquare(all_counts).pvalue > 1e-6


@pytest.mark.parametrize("source", [FromDataset(), SeededReplay(9), BalancedReplay()])
def test_each_is_a_batch_source(source):
    assert isinstance(source, BatchSource)


def test_offline_a_batch_is_the_datasets_own():
    dataset = dataset_of(5)
    ours = FromDataset().draw_batch(dataset, None, PLACE, jax.random.key(3), 16)
    its = dataset.sample(jax.random.key(3), 16)
    np.testing.assert_array_equal(ours.reward, its.reward)


@given(size=st.sampled_from([1, 5]), room=st.sampled_from([0, 4]), written=st.integers(0, 14), key=st.integers(0, 9))
def test_a_seeded_replay_draws_from_the_latest_of_the_stream(size, room, written, key):
    dataset, capacity = dataset_of(size), size + room
    replay = replay_of(dataset, capacity, written)
    stream = [*(-1.0 - row for row in range(size)), *(float(number) for number in range(written))]
    rewards = drawn_rewards(SeededReplay(capacity), dataset, replay, key=key)
    assert is_uniform_over(rewards, stream[-capacity:])


@given(size=st.sampled_from([1, 5]), slots=st.sampled_from([1, 6]), written=st.integers(1, 14), key=st.integers(0, 9))
def test_balanced_halves_come_from_each(size, slots, written, key):
    dataset = dataset_of(size)
    rewards = drawn_rewards(BalancedReplay(), dataset, replay_of(dataset, slots, written), key=key)
    old, new = np.split(rewards, 2)
    assert is_uniform_over(old, [-1.0 - row for row in range(size)])
    assert is_uniform_over(new, [float(number) for number in range(written)][-slots:])


def test_a_ring_that_holds_all_new_ones_need_not_have_room_for_the_data():
    dataset = dataset_of(1000)
    rewards = drawn_rewards(SeededReplay(1003), dataset, replay_of(dataset, 5, 5))
    assert rewards.min() >= -1000
    assert rewards.max() == 4
    # Five new, so that the two oldest of 1,000 are gone: those that pay -1 and -2.
    assert not np.isin(rewards, [-1.0, -2.0]).any()


def test_each_seed_draws_from_its_own():
    dataset = dataset_of(2)
    replay = ReplayBuffer.empty(jax.eval_shape(dataset.transitions, jnp.zeros((), jnp.int32)), seeds=2, slots=3)
    replay = replay.write(step_of(jnp.asarray([[[7.0]], [[8.0]]])))
    for place, reward in ((0, 7.0), (1, 8.0)):
        batch = BalancedReplay().draw_batch(dataset, replay, jnp.asarray(place), jax.random.key(0), 4)
        np.testing.assert_array_equal(batch.reward[2:], [reward] * 2)
