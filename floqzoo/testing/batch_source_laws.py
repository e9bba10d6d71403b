"""What every source of batches promises."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.protocols import BatchSource
from floqzoo.records import Transition
from floqzoo.tasks import Dataset, FutureDataset, make_dataset
from floqzoo.tasks.replay_buffer import ExploredStep
from floqzoo.testing.closeness import assert_rows_are_mapped, compiled
from floqzoo.testing.examples import Example, floating


SIZE, SLOTS, SEEDS = 24, 8, 2  # of a batch, of a replay; a source may ask for an even batch


def a_batch_has_the_form_of_the_data(source: BatchSource, example: Example) -> None:
    """A batch has the fields, shapes and dtypes of `dataset.sample(key, batch_size)`, whatever the size, with futures or not."""
    for futures, size in ((False, 2), (True, SIZE)):
        asked = partial(_draw, source, *_data(example, futures), 0, size=size)
        found = jax.eval_shape(lambda key, asked=asked: asked(key=key), example.key)
        wanted = _form_of_the_data(futures, size)
        assert found == wanted, f"{found} instead of {wanted}"


def a_key_decides_the_batch(source: BatchSource, example: Example) -> None:
    """The same key gives the same batch, compiled or not, and another key gives another."""
    asked = (source, *_data(example, futures=False), jnp.asarray(0))
    batch = compiled(_draw, *asked, example.key, SIZE)
    for again in (_draw(*asked, example.key, SIZE), compiled(_draw, *asked, example.key, SIZE)):
        for found, wanted in zip(jax.tree.leaves(again), jax.tree.leaves(batch), strict=True):
            np.testing.assert_array_equal(found, wanted)
    other = compiled(_draw, *asked, jax.random.fold_in(example.key, 1), SIZE)
    assert np.any(batch.observation != other.observation), f"{batch.observation} from two keys"


def transitions_are_those_that_were_shown(source: BatchSource, example: Example) -> None:
    """Every transition is whole, and is one of the dataset's or one that the seed's own replay knows."""
    dataset, replay = _data(example, futures=False)
    for place in range(SEEDS):
        batch = compiled(_draw, source, dataset, replay, jnp.asarray(place), example.key, SIZE)
        made_up = {tuple(row) for row in _rows(batch).tolist()} - _shown(dataset, replay, place)
        assert not made_up, f"{sorted(made_up)} was never shown to the seed at place {place}"


def a_batch_for_each_seed_is_drawn_as_for_one(source: BatchSource, example: Example) -> None:
    """`jax.vmap` over seeds, with their places and keys, is the batches one by one."""
    rows = (jnp.arange(SEEDS), example.seed + jnp.arange(SEEDS))
    assert_rows_are_mapped(_drawn_for, rows, source, *_data(example, futures=False))


def _draw(source: BatchSource, dataset: Dataset, replay: Any, place: Any, key: Any, size: int) -> Transition:
    return source.draw_batch(dataset, replay, jnp.asarray(place), key, size)


def _shown(dataset: Dataset, replay: Any, place: int) -> set[tuple]:
    """All transitions that a seed can know, each as a row of numbers."""
    known = int(replay.known[place])
    shown = jax.tree.map(lambda ring: ring[place, :known], replay.transitions)
    rows = [_rows(dataset.transitions(jnp.arange(dataset.size))), _rows(shown)]
    return {tuple(row) for row in np.concatenate(rows).tolist()}


def _drawn_for(seed, source: BatchSource, dataset: Dataset, replay: Any):
    place, number = seed
    return _rows(_draw(source, dataset, replay, place, jax.random.key(number), SIZE))


@cache
def _form_of_the_data(futures: bool, size: int):
    dataset, _ = _world(futures)
    return jax.eval_shape(lambda key: dataset.sample(key, size), jax.random.key(0))


def _rows(batch: Transition):
    """Transitions as the rows of a matrix."""
    return jnp.concatenate([leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(batch)], axis=1)


def _data(example: Example, futures: bool) -> tuple[Dataset, Any]:
    """A dataset and a replay."""
    dataset, replays = _world(futures)
    return dataset, replays[example.seed % len(replays)]


@cache
def _world(futures: bool) -> tuple[Dataset, list]:
    """Two episodes of three steps, and the replays after 3 to 8 steps of each seed; no two states are the same."""
    states = np.arange(8)
    number = floating(states)
    arrays = {"actions": -number[:, None] / 8, "rewards": 2 * number, "masks": jnp.ones_like(number)}
    dataset = make_dataset(
        observations=np.asarray(number[:, None]),
        terminals=states % 4 == 3,
        **{name: np.asarray(array) for name, array in arrays.items()},
    )
    dataset = FutureDataset.of(dataset, 0.5) if futures else dataset
    write = jax.jit(lambda replay, new: replay.write(new))
    replays = [dataset.empty_replay(seeds=SEEDS, slots=SLOTS, environments=1)]
    for step in range(SLOTS):
        replays.append(write(replays[-1], _explored(step)))
    return dataset, replays[3:]


def _explored(step: int) -> ExploredStep:
    """What each seed is shown at a step: 100 and more to the first, 200 and more to the second."""
    number = floating(100.0 * np.arange(1, SEEDS + 1) + step)[:, None]
    over = jnp.full(number.shape, step % 4 == 3)
    point = number[..., None]
    return ExploredStep(point, -point / 512, 2 * number, 0 * number, point + 0.5, over=over, next_action=-point / 512)


batch_source_laws = (
    a_batch_has_the_form_of_the_data,
    a_key_decides_the_batch,
    transitions_are_those_that_were_shown,
    a_batch_for_each_seed_is_drawn_as_for_one,
)
