"""Stacks of frames are those of a plain loop over each episode, and stay bytes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from floqzoo.learner import ActionChunks, NStep, UniformBatches
from floqzoo.protocols import EpisodeDataset, OfflineDataset
from floqzoo.tasks import PixelDataset, make_dataset


WIDTH = 4  # bytes in a frame


def frames_of(lengths):
    """Frames of random bytes, whose first byte is the number of the state."""
    states = sum(lengths)
    random = np.random.default_rng(states)
    frames = random.integers(0, 256, (states, WIDTH), np.uint8)
    frames[:, 0] = np.arange(states)
    ends = np.cumsum(lengths) - 1
    return make_dataset(
        observations=frames,
        actions=random.uniform(-1, 1, (states, 2)).astype(np.float32),
        rewards=-np.arange(states, dtype=np.float32),
        masks=np.ones(states, np.float32),
        terminals=np.isin(np.arange(states), ends),
    )


def stacks_in_a_loop(dataset, lengths, frame_stack):
    """The stack of each state, from the deque of the latest frames of its episode."""
    frames, stacks, state = np.asarray(dataset.observations), [], 0
    for length in lengths:
        latest = [frames[state]] * frame_stack
        for _ in range(length):
            latest = [*latest[1:], frames[state]]
            stacks.append(np.concatenate(latest))
            state += 1
    return np.stack(stacks)


lengths = st.lists(st.integers(2, 6), min_size=1, max_size=4)


@pytest.mark.slow
@given(lengths=lengths, frame_stack=st.integers(1, 4))
def test_stacks_are_those_of_a_loop(lengths, frame_stack):
    frames = frames_of(lengths)
    dataset, wanted = PixelDataset.of(frames, frame_stack), stacks_in_a_loop(frames, lengths, frame_stack)
    at = dataset.starts
    step = dataset.transition(at)
    for found, states in ((step.observation, at), (step.next_observation, at + 1)):
        assert found.dtype == jnp.uint8
        np.testing.assert_array_equal(found, wanted[states])
    single = frames.transition(at)
    for name in ("action", "reward", "discount", "next_action"):
        np.testing.assert_array_equal(getattr(step, name), getattr(single, name))
    assert dataset.observation_dim == frame_stack * WIDTH == step.observation.shape[1]


@settings(max_examples=8)
@given(lengths=lengths, frame_stack=st.integers(1, 4))
def test_no_stack_crosses_the_start_of_its_episode(lengths, frame_stack):
    frames = frames_of(lengths)
    dataset = PixelDataset.of(frames, frame_stack)
    step = dataset.transition(dataset.starts)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    for stacks, states in ((step.observation, dataset.starts), (step.next_observation, dataset.starts + 1)):
        of_frames = episode[np.asarray(stacks).reshape(-1, frame_stack, WIDTH)[..., 0]]
        np.testing.assert_array_equal(of_frames, np.broadcast_to(episode[states][:, None], of_frames.shape))


@pytest.mark.parametrize("reader", [NStep(3, 0.9), ActionChunks(3, 0.9), NStep(1, next_action=True)])
def test_readers_read_stacks_where_they_read_frames(reader):
    frames = frames_of([5, 3, 4])
    dataset, key = PixelDataset.of(frames, 2), jax.random.key(0)
    wanted = UniformBatches(reader).draw_batch(frames, None, jnp.asarray(0), key, 32)
    found = UniformBatches(reader).draw_batch(dataset, None, jnp.asarray(0), jax.random.clone(key), 32)
    for name in ("action", "reward", "discount", "next_action", "valid"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    for name in ("observation", "next_observation"):
        np.testing.assert_array_equal(getattr(found, name)[:, WIDTH:], getattr(wanted, name))


def test_it_is_a_dataset_of_the_same_content():
    frames = frames_of([5, 3])
    dataset = PixelDataset.of(frames, 3)
    assert isinstance(dataset, EpisodeDataset)
    assert isinstance(dataset, OfflineDataset)
    assert (dataset.size, dataset.action_dim) == (frames.size, 2)
    assert dataset.reward_range == frames.reward_range
    assert dataset.fingerprint() == frames.fingerprint()
    drawn = dataset.sample(jax.random.key(1), 8)
    again = dataset.transition(drawn.observation[:, -WIDTH].astype(jnp.int32))
    np.testing.assert_array_equal(drawn.next_observation, again.next_observation)
    assert drawn.next_action is None


def test_a_frame_is_stored_once():
    frames = frames_of([50] * 4)
    pixels = sum(leaf.nbytes for leaf in jax.tree.leaves(PixelDataset.of(frames, 3)) if leaf.dtype == jnp.uint8)
    assert pixels == frames.observations.nbytes == 200 * WIDTH


def test_only_bytes_are_stacked_and_only_positive_numbers_of_them():
    frames = frames_of([3])
    with pytest.raises(ValueError, match="`frame_stack` must be at least 1; got 0"):
        PixelDataset.of(frames, 0)
    states = make_dataset(
        observations=np.zeros((3, 4), np.float32),
        actions=np.zeros((3, 2), np.float32),
        rewards=np.zeros(3, np.float32),
        masks=np.ones(3, np.float32),
        terminals=np.arange(3) == 2,
    )
    with pytest.raises(ValueError, match=r"`frames` must have observations of bytes \(uint8\); got float32"):
        PixelDataset.of(states, 2)
