"""Laws of batch sources and readers."""

from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.protocols import BatchSource, TransitionReader
from floqzoo.records import Transition
from floqzoo.tasks import Dataset, make_dataset
from floqzoo.tasks.replay_buffer import ExploredStep, SeedReplay
from floqzoo.testing.closeness import assert_rows_are_mapped, compiled
from floqzoo.testing.examples import Example, floating


SIZE, SLOTS, SEEDS = 24, 8, 2  # of a batch, of a replay; a source may ask for an even batch


def a_batch_has_the_structure_of_the_data(source: BatchSource, example: Example) -> None:
    """For any batch size, the rows of a batch have the shapes and dtypes of the dataset's transitions.

    The length of every array is the batch size. A row may contain an action chunk instead of a single action.
    """
    dataset, _ = _world()
    for size in (2, SIZE):
        found = jax.eval_shape(lambda key, size=size: draw(source, *example_data(example), 0, key, size), example.key)
        wanted = jax.eval_shape(lambda key, size=size: dataset.sample(key, size), example.key)
        for name in ("observation", "reward", "discount", "next_observation"):
            assert getattr(found, name) == getattr(wanted, name), f"{name} is {getattr(found, name)}"
        (rows, width), (_, single) = found.action.shape, wanted.action.shape
        fits = found.action.dtype == wanted.action.dtype and rows == size and width % single == 0
        assert fits, f"action is {found.action}"
        assert all(leaf.shape[0] == size for leaf in jax.tree.leaves(found)), f"lengths of {found}"


def a_key_decides_the_batch(source: BatchSource, example: Example) -> None:
    """The same key gives the same batch, compiled or not, and a different key gives a different batch."""
    asked = (source, *example_data(example), jnp.asarray(0))
    batch = compiled(draw, *asked, example.key, SIZE)
    for again in (draw(*asked, example.key, SIZE), compiled(draw, *asked, example.key, SIZE)):
        for found, wanted in zip(jax.tree.leaves(again), jax.tree.leaves(batch), strict=True):
            np.testing.assert_array_equal(found, wanted)
    other = compiled(draw, *asked, jax.random.fold_in(example.key, 1), SIZE)
    assert np.any(batch.observation != other.observation), f"{batch.observation} from two keys"


def examples_come_from_the_data(source: BatchSource, example: Example) -> None:
    """Each example starts at a transition of the dataset or of the seed's own replay buffer, and ends in the same
    episode.

    The reward of a one-step example is the reward of this transition. A `RewardNoise` with a scale above 0 does not obey
    this law.
    """
    dataset, replay = example_data(example)
    for place in range(SEEDS):
        batch = compiled(draw, source, dataset, replay, jnp.asarray(place), example.key, SIZE)
        shown = _shown(dataset, replay, place)
        for row in range(SIZE):
            start = (float(batch.observation[row, 0]), float(batch.action[row, 0]))
            assert start in shown, f"{start} was never shown to the seed at place {place}"
            end = float(batch.next_observation[row, 0])
            after, reward = shown[start]
            assert end in after, f"{start} is followed by {end}, which is not of its episode"
            one_step = end == after[0]
            assert not one_step or batch.reward[row] == reward, f"{start} pays {batch.reward[row]}, not {reward}"


def batches_of_seeds_are_drawn_one_by_one(source: BatchSource, example: Example) -> None:
    """`jax.vmap` over the indices and keys of the seeds gives the same batches as drawing them one by one."""
    rows = (jnp.arange(SEEDS), example.seed + jnp.arange(SEEDS))
    assert_rows_are_mapped(_drawn_for, rows, source, *example_data(example))


def a_reader_stays_in_the_episode(reader: TransitionReader, example: Example) -> None:
    """Each example starts at the requested address of a dataset or replay buffer, and ends in the same episode."""
    dataset, replay = example_data(example)
    for store, at in (
        (dataset, dataset.starts),
        _store_of_seed(replay, 0, reader),
    ):
        asked, batch = store.transition(at), compiled(read, reader, store, at, example.key)
        np.testing.assert_array_equal(batch.observation, asked.observation)
        np.testing.assert_array_equal(batch.action[:, : asked.action.shape[1]], asked.action)
        # The states of an episode are numbered; steps are as many as are left, at most.
        steps = np.round(np.asarray(batch.next_observation - asked.observation)[:, 0])
        left = np.asarray(store.steps_left(at))
        assert np.all((steps >= 0) & (steps <= left + 1)), f"{steps} steps where {left} are left after the first"


def a_chunk_holds_the_actions_of_one_episode(reader: TransitionReader, example: Example) -> None:
    """An action chunk contains consecutive actions of one episode.

    `valid` is 1 for these actions, and 0 for the padding after the end of the episode. If `valid` is None, there is no
    padding.
    """
    dataset, replay = example_data(example)
    for store, at in (
        (dataset, dataset.starts),
        _store_of_seed(replay, 1, reader),
    ):
        batch, left = compiled(read, reader, store, at, example.key), np.asarray(store.steps_left(at))
        steps = batch.action.shape[1] // store.transition(at).action.shape[1]
        chunks = np.asarray(batch.action).reshape(len(at), steps, -1)
        inside = np.arange(steps) <= left[:, None]
        valid = np.ones(inside.shape) if batch.valid is None else np.asarray(batch.valid)
        np.testing.assert_array_equal(valid, inside)
        for row, step in zip(*np.nonzero(inside), strict=True):
            wanted = store.transition(store.later(at[row], jnp.asarray(step, at.dtype))).action
            np.testing.assert_array_equal(chunks[row, step], wanted)


def discounts_lie_between_0_and_1(reader: TransitionReader, example: Example) -> None:
    """Discounts lie in [0, 1]. They are 0 if the first step terminates the episode, unless the reader has an attribute
    `terminations` that is False."""
    dataset, _ = example_data(example)
    ended = eqx.tree_at(lambda data: data.masks, dataset, jnp.zeros_like(dataset.masks))
    for data, most in ((dataset, 1.0), (ended, 0.0 if getattr(reader, "terminations", True) else 1.0)):
        discount = compiled(read, reader, data, data.starts, example.key).discount
        assert np.all((discount >= 0) & (discount <= most)), f"discounts {discount}"


def read(reader: TransitionReader, store: Any, at: Any, key: Any) -> Transition:
    """Reads the examples that start at the given addresses."""
    return reader.read(store, at, key)


def draw(source: BatchSource, dataset: Dataset, replay: Any, place: Any, key: Any, size: int) -> Transition:
    """Draws a batch for the seed at index `place`."""
    return source.draw_batch(dataset, replay, jnp.asarray(place), key, size)


def _store_of_seed(replay: Any, place: int, reader: TransitionReader) -> tuple[SeedReplay, Any]:
    """The transitions of a seed that the reader can read, and their addresses."""
    next_actions = reader.reads_next_action
    return replay.of_seed(jnp.asarray(place), next_actions), jnp.arange(int(replay.known(next_actions)[place]))


def _shown(dataset: Dataset, replay: Any, place: int) -> dict[tuple, tuple]:
    """The transitions that a seed can sample: the later states of the episode and the reward, by state and action."""
    shown = {}
    for store, count in (
        (dataset, dataset.size),
        (replay.of_seed(jnp.asarray(place), next_actions=False), int(replay.known(False)[place])),
    ):
        at = dataset.starts if store is dataset else jnp.arange(count)
        steps = jax.tree.map(np.asarray, store.transition(at))
        left = np.asarray(store.steps_left(at))
        for row in range(len(left)):
            after = [float(steps.next_observation[row + k, 0]) for k in range(left[row] + 1)]
            shown[float(steps.observation[row, 0]), float(steps.action[row, 0])] = after, steps.reward[row]
    return shown


def _drawn_for(seed, source: BatchSource, dataset: Dataset, replay: Any):
    place, number = seed
    return _rows(draw(source, dataset, replay, place, jax.random.key(number), SIZE))


def _rows(batch: Transition):
    """The transitions as rows of a matrix."""
    return jnp.concatenate([leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(batch)], axis=1)


def example_data(example: Example) -> tuple[Dataset, Any]:
    """Returns a dataset and a replay buffer; the example's seed determines how full the buffer is."""
    dataset, replays = _world()
    return dataset, replays[example.seed % len(replays)]


@cache
def _world() -> tuple[Dataset, list]:
    """A dataset of two episodes of three steps, and replay buffers after 3 to 8 steps per seed; all states differ."""
    states = np.arange(8)
    number = floating(states)
    arrays = {"actions": -number[:, None] / 8, "rewards": 2 * number, "masks": jnp.ones_like(number)}
    dataset = make_dataset(
        observations=np.asarray(number[:, None]),
        terminals=states % 4 == 3,
        **{name: np.asarray(array) for name, array in arrays.items()},
    )
    write = jax.jit(lambda replay, new: replay.write(new))
    replays = [dataset.empty_replay(seeds=SEEDS, slots=SLOTS, environments=1)]
    for step in range(SLOTS):
        replays.append(write(replays[-1], _explored(step)))
    return dataset, replays[3:]


def _explored(step: int) -> ExploredStep:
    """One step of each seed; observations count up from 100 for the first seed, and from 200 for the second."""
    number = floating(100.0 * np.arange(1, SEEDS + 1) + step)[:, None]
    over = jnp.full(number.shape, step % 4 == 3)
    point = number[..., None]
    transition = Transition(point, -point / 512, 2 * number, 0 * number, point + 0.5)
    return ExploredStep(transition, over, next_action=-point / 512)


reader_laws = (a_reader_stays_in_the_episode, a_chunk_holds_the_actions_of_one_episode, discounts_lie_between_0_and_1)

batch_source_laws = (
    a_batch_has_the_structure_of_the_data,
    a_key_decides_the_batch,
    examples_come_from_the_data,
    batches_of_seeds_are_drawn_one_by_one,
)
