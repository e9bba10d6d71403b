"""A random crop pads frames by their border, and shifts all frames of a transition alike, in all rows of a batch or none."""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

import floqzoo as fz
from floqzoo.learner import RandomCrop, UniformBatches
from floqzoo.tasks import PixelDataset, make_dataset


FRAME = (4, 5, 3)
PLACE = jnp.asarray(0)


def padded_and_cropped(observation, place, frame, padding):
    """The crop of each frame at a row and a column, of the frame with a border of repeated pixels."""
    crops = []
    for single in np.asarray(observation).reshape(-1, *frame):
        padded = np.pad(single, ((padding, padding), (padding, padding), (0, 0)), mode="edge")
        row, column = place
        crops.append(padded[row : row + frame[0], column : column + frame[1]])
    return np.concatenate([crop.reshape(-1) for crop in crops])


@given(
    frame=st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from((1, 3))),
    padding=st.integers(0, 3),
    frames=st.integers(1, 3),
    data=st.data(),
)
def test_a_crop_is_a_window_of_the_padded_frames(frame, padding, frames, data):
    place = tuple(data.draw(st.integers(0, 2 * padding)) for _ in range(2))
    observation = np.random.default_rng(0).integers(0, 256, frames * int(np.prod(frame)), np.uint8)
    crop = RandomCrop(UniformBatches(), frame=frame, padding=padding)
    found = crop.crop(jnp.asarray(observation), jnp.asarray(place))
    assert found.dtype == jnp.uint8
    np.testing.assert_array_equal(found, padded_and_cropped(observation, place, frame, padding))


@cache
def world(states=40):
    random = np.random.default_rng(0)
    return PixelDataset.of(
        make_dataset(
            observations=random.integers(0, 256, (states, int(np.prod(FRAME))), np.uint8),
            actions=np.linspace(-1, 1, states, dtype=np.float32)[:, None],
            rewards=np.zeros(states, np.float32),
            masks=np.ones(states, np.float32),
            terminals=np.arange(states) % 10 == 9,
        ),
        2,
    )


def drawn(probability, key, batch_size=8, padding=3):
    return _draw(RandomCrop(UniformBatches(), probability, frame=FRAME, padding=padding), world(), key, batch_size)


@eqx.filter_jit
def _draw(source, dataset, key, batch_size):
    return source.draw_batch(dataset, None, PLACE, key, batch_size)


def original(batch):
    """The transitions that the rows are crops of, found by their actions."""
    state = np.round((np.asarray(batch.action[:, 0]) + 1) * 39 / 2).astype(np.int32)
    return world().transition(jnp.asarray(state))


def places_of(batch):
    """The places at which each row may have been cropped, by trying all."""
    whole, found = original(batch), []
    for row in range(len(batch.reward)):
        pairs = [(getattr(whole, name)[row], getattr(batch, name)[row]) for name in ("observation", "next_observation")]
        found.append(
            [
                place
                for place in np.ndindex(7, 7)
                if all(np.array_equal(padded_and_cropped(before, place, FRAME, 3), after) for before, after in pairs)
            ]
        )
    return found


def test_observation_and_next_observation_are_cropped_at_one_place():
    batch = drawn(1.0, jax.random.key(0), 64)
    places = places_of(batch)
    # A few of the 49 crops of a small frame are alike, so that a row may have several.
    assert all(places)
    assert len({tuple(row) for row in places}) > 20
    whole = original(batch)
    for name in ("action", "reward", "discount"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(whole, name))


@pytest.mark.slow
def test_places_are_uniform():
    rows = [row for key in range(8) for row in places_of(drawn(1.0, jax.random.key(key), 64))]
    sure = [row[0] for row in rows if len(row) == 1]
    assert len(sure) > 0.9 * len(rows)
    for axis in range(2):
        counts = np.bincount([place[axis] for place in sure], minlength=7)
        assert stats.chisquare(counts[1:-1]).pvalue > 1e-4
        assert (counts > 0).all()


def test_a_batch_is_cropped_in_all_rows_or_in_none():
    cropped = 0
    for key in range(60):
        batch = drawn(0.5, jax.random.key(key), 4)
        same = [np.array_equal(a, b) for a, b in zip(batch.observation, original(batch).observation, strict=True)]
        if not all(same):
            # A row may be drawn at the place without a shift, but not all four of them.
            cropped += 1
            assert sum(same) < 3
    assert 15 <= cropped <= 45


@pytest.mark.slow
def test_without_probability_a_batch_is_the_sources():
    batch = drawn(0.0, jax.random.key(3))
    np.testing.assert_array_equal(batch.observation, original(batch).observation)
    batch = drawn(1.0, jax.random.key(3), padding=0)
    np.testing.assert_array_equal(batch.next_observation, original(batch).next_observation)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"`probability` must be in \[0, 1\]; got 1.5"):
        fz.RandomCrop(UniformBatches(), 1.5)
    with pytest.raises(ValueError, match="`padding` must be at least 0; got -1"):
        fz.RandomCrop(UniformBatches(), padding=-1)
    with pytest.raises(TypeError, match="source"):
        fz.RandomCrop(fz.NStep())
