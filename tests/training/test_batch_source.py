from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from floqzoo.learner import BalancedReplay, NStep, SeededReplay, UniformBatches
from floqzoo.protocols import BatchSource
from floqzoo.records import Transition
from floqzoo.tasks import make_dataset
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
    return ExploredStep(Transition(point, point, point[..., 0], point[..., 0], point), over, next_action=point)


def drawn_rewards(source, dataset, replay, batch_size=DRAWS, key=0):
    return np.asarray(source.draw_batch(dataset, replay, PLACE, jax.random.key(key), batch_size).reward)


def is_uniform_over(rewards, valid):
    values, counts = np.unique(rewards, return_counts=True)
    assert set(values) <= set(valid)
    all_counts = np.zeros(len(valid))
    all_counts[[list(valid).index(value) for value in values]] = counts
    return len(valid) == 1 or stats.chisquare(all_counts).pvalue > 1e-6


@pytest.mark.parametrize("source", [UniformBatches(), SeededReplay(9), BalancedReplay()])
def test_each_is_a_batch_source(source):
    assert isinstance(source, BatchSource)


def test_offline_a_batch_is_the_datasets_own():
    dataset = dataset_of(5)
    ours = UniformBatches().draw_batch(dataset, None, PLACE, jax.random.key(3), 16)
    its = dataset.sample(jax.random.key(3), 16)
    np.testing.assert_array_equal(ours.reward, its.reward)


@pytest.mark.slow
@given(size=st.sampled_from([1, 5]), room=st.sampled_from([0, 4]), written=st.integers(0, 14), key=st.integers(0, 9))
def test_a_seeded_replay_draws_from_the_latest_of_the_stream(size, room, written, key):
    dataset, capacity = dataset_of(size), size + room
    replay = replay_of(dataset, capacity, written)
    stream = [*(-1.0 - row for row in range(size)), *(float(number) for number in range(written))]
    rewards = drawn_rewards(SeededReplay(capacity), dataset, replay, key=key)
    assert is_uniform_over(rewards, stream[-capacity:])


@pytest.mark.slow
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


@pytest.mark.slow
def test_each_seed_draws_from_its_own():
    dataset = dataset_of(2)
    replay = dataset.empty_replay(seeds=2, slots=3, environments=1)
    replay = replay.write(step_of(jnp.asarray([[[7.0]], [[8.0]]])))
    for place, reward in ((0, 7.0), (1, 8.0)):
        batch = BalancedReplay().draw_batch(dataset, replay, jnp.asarray(place), jax.random.key(0), 4)
        np.testing.assert_array_equal(batch.reward[2:], [reward] * 2)


# What is read of a transition


GAMMA = 0.9
EPISODES = st.lists(st.integers(2, 6), min_size=1, max_size=4)


def numbered(lengths, terminals):
    """Episodes whose states are numbered through; `terminals` says which of them terminate."""
    count = sum(lengths)
    rows, ends = np.arange(count, dtype=np.float32), np.cumsum(lengths) - 1
    masks = np.ones(count, np.float32)
    masks[ends[np.array(terminals)] - 1] = 0.0
    return make_dataset(
        observations=rows[:, None],
        actions=-rows[:, None] / 100,
        rewards=np.cos(rows),
        masks=masks,
        terminals=np.isin(np.arange(count), ends),
    )


def by_a_plain_loop(steps, n):
    """From a list of (reward, discount) of the rest of an episode to the n-step return, its discount and its length."""
    reward, discount, length = 0.0, 1.0, 0
    for r, d in steps[:n]:
        reward += discount * r
        discount *= GAMMA * d
        length += 1
    return reward, discount / GAMMA, length


@pytest.mark.slow
@given(lengths=EPISODES, n=st.integers(1, 7), terminations=st.booleans(), data=st.data())
def test_n_step_returns_of_a_dataset_are_those_of_a_plain_loop(lengths, n, terminations, data):
    dataset = numbered(lengths, data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))))
    starts = np.asarray(dataset.starts)
    reader = NStep(n, GAMMA, next_action=True, terminations=terminations)
    batch = reader.read(dataset, dataset.starts, jax.random.key(0))
    batch = jax.tree.map(np.asarray, batch)
    rewards, masks, last = (np.asarray(array) for array in (dataset.rewards, dataset.masks, dataset.last))
    for row, start in enumerate(starts):
        steps = [(rewards[k], masks[k] if terminations else 1.0) for k in range(start, last[start])]
        reward, discount, length = by_a_plain_loop(steps, n)
        np.testing.assert_allclose(batch.reward[row], reward, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(batch.discount[row], discount, rtol=1e-5, atol=1e-6)
        assert batch.next_observation[row, 0] == start + length
        np.testing.assert_allclose(batch.next_action[row, 0], -(start + length) / 100, rtol=1e-6)
        assert batch.observation[row, 0] == start


@pytest.mark.slow
@given(rounds=st.lists(st.tuples(*[st.sampled_from("cet")] * 2), min_size=2, max_size=9), n=st.integers(1, 4))
def test_n_step_returns_of_a_replay_are_those_of_a_plain_loop(rounds, n):
    """Two environments: each step continues, ends its episode by termination, or is truncated."""
    replay = numbered([2], [False]).empty_replay(seeds=1, slots=12, environments=2)
    history = [[], []]  # Of each environment: (number, reward, discount, whether the episode is over).
    for number, ends in enumerate(rounds):
        numbers = 2 * number + np.arange(2)
        over = np.array([end != "c" for end in ends])
        discount = np.array([end != "e" for end in ends], np.float32)
        point = jnp.asarray(numbers, jnp.float32)[None, :, None]
        step = Transition(point, point, jnp.cos(point[..., 0]), jnp.asarray(discount)[None], point + 0.5)
        replay = write(replay, ExploredStep(step, jnp.asarray(over)[None], next_action=point))
        for column in range(2):
            history[column].append((numbers[column], np.cos(numbers[column]), discount[column], over[column]))
    of_seed = replay.of_seed(PLACE, next_actions=False)
    size = int(replay.size(False)[0])
    at = of_seed.of_age(jnp.arange(size))
    batch = jax.tree.map(np.asarray, NStep(n, GAMMA).read(of_seed, at, jax.random.key(0)))
    for row, number in enumerate(np.asarray(at)):
        rest = history[number % 2][number // 2 :]
        until = next((k for k, step in enumerate(rest) if step[3]), len(rest) - 1)
        reward, discount, length = by_a_plain_loop([(r, d) for _, r, d, _ in rest[: until + 1]], n)
        np.testing.assert_allclose(batch.reward[row], reward, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(batch.discount[row], discount, rtol=1e-5, atol=1e-6)
        assert batch.next_observation[row, 0] == rest[length - 1][0] + 0.5


def test_one_step_is_the_transition_itself():
    dataset = dataset_of(5)
    batch = NStep(1, GAMMA).read(dataset, dataset.starts, jax.random.key(0))
    for ours, its in zip(jax.tree.leaves(batch), jax.tree.leaves(dataset.transitions(jnp.arange(5))), strict=True):
        np.testing.assert_array_equal(ours, its)


@pytest.mark.parametrize(
    ("settings", "message"), [((0, 0.9), "`n` must be at least 1"), ((1, 1.0), "`discount` must be")]
)
def test_a_number_out_of_its_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NStep(*settings)


def test_data_without_episodes_have_single_transitions_only():
    """They have a method `sample` and nothing else."""
    data, key = SimpleNamespace(sample=dataset_of(5).sample), jax.random.key(3)
    assert UniformBatches().draw_batch(data, None, PLACE, key, 8).reward.shape == (8,)
    for reader in (NStep(2), NStep(next_action=True)):
        with pytest.raises(ValueError, match=r"`reader` must be NStep\(1\) for a SimpleNamespace"):
            UniformBatches(reader).draw_batch(data, None, PLACE, jax.random.clone(key), 8)


@pytest.mark.parametrize("terminations", [True, False])
def test_terminations_of_data_without_episodes_are_ignored_if_asked(terminations):
    ended = replace(dataset_of(5), masks=jnp.zeros_like(dataset_of(5).masks))
    data = SimpleNamespace(sample=ended.sample)
    batch = UniformBatches(NStep(terminations=terminations)).draw_batch(data, None, PLACE, jax.random.key(3), 8)
    np.testing.assert_array_equal(batch.discount, 0.0 if terminations else 1.0)


def test_an_odd_batch_has_no_two_halves():
    dataset = dataset_of(5)
    with pytest.raises(
        ValueError, match="`batch_size` must be even for a BalancedReplay, which draws two halves; got 5"
    ):
        drawn_rewards(BalancedReplay(), dataset, replay_of(dataset, 4, 3), batch_size=5)
