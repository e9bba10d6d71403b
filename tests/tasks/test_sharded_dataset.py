"""Datasets of many files: what is known of them before they are read, and what is refused."""

import json
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from written_shards import damage, random_arrays, read_shard, write_shards, written

from floqzoo.runs.run_directory import describe_data
from floqzoo.tasks import (
    Dataset,
    GymnasiumTask,
    ShardedDataset,
    dataset_from_transitions,
    episodes_from_transitions,
    make_dataset,
    read_dataset,
    write_episodes,
)
from floqzoo.tasks.sharded_dataset import first_episodes, shard_paths


BOUNDS = (-1.0, 0.0)


def assert_same(one, other):
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@settings(deadline=None)
@given(lengths=st.lists(st.integers(2, 6), min_size=1, max_size=6), wanted=st.integers(1, 30))
def test_first_episodes_are_whole_and_as_few_as_suffice(lengths, wanted):
    states = sum(lengths)
    arrays = random_arrays(0, states)
    arrays["terminals"] = np.isin(np.arange(states), np.cumsum(lengths) - 1)
    head = first_episodes(make_dataset(**arrays), wanted)
    kept = len(head.observations)
    assert kept in np.cumsum(lengths)
    assert_same(head, make_dataset(**{name: array[:kept] for name, array in arrays.items()}))
    episodes = int(np.searchsorted(np.cumsum(lengths), kept)) + 1
    assert head.size == kept - episodes
    assert head.size >= min(wanted, states - len(lengths))
    assert kept == lengths[0] or head.size - (lengths[episodes - 1] - 1) < wanted


def test_first_episodes_keep_which_next_actions_are_known():
    steps = 12
    dataset = dataset_from_transitions(
        observations=np.arange(steps, dtype=float)[:, None],
        actions=np.zeros((steps, 1)),
        rewards=np.zeros(steps),
        next_observations=np.arange(1, steps + 1, dtype=float)[:, None],
        terminated=np.zeros(steps, bool),
        truncated=np.arange(steps) % 4 == 3,
    )
    head = first_episodes(dataset, 5)
    assert head.size == 8
    known = head.with_next_actions()
    np.testing.assert_array_equal(known.starts, np.asarray(dataset.next_starts)[: len(known.starts)])
    assert known.size == 6


def test_what_is_known_before_the_shards_are_read(tmp_path):
    dataset = written(tmp_path, 3)
    shards = [Dataset(**jax.tree.map(jnp.asarray, dataset.reader(path))) for path in dataset.paths]
    assert dataset.size == sum(shard.size for shard in shards) == 171
    assert (dataset.observation_dim, dataset.action_dim, dataset.reward_range) == (2, 1, BOUNDS)
    assert_same(dataset.excerpt, shards[0])  # it has fewer than 10,000 transitions
    np.testing.assert_array_equal(dataset.observations, shards[0].observations)
    assert str(dataset).startswith("3 shards of 57 transitions each, 171 in all; one shard (")
    assert dataset.shard_bytes == sum(leaf.nbytes for leaf in jax.tree.leaves(shards[0]))
    key = jax.random.key(0)
    assert_same(dataset.sample(key, 5), dataset.excerpt.sample(jax.random.clone(key), 5))


def test_a_fingerprint_is_of_the_contents_in_their_order_and_of_nothing_else(tmp_path):
    paths = write_shards(tmp_path / "one")
    own = ShardedDataset(paths, read_shard, reward_range=BOUNDS).fingerprint()
    moved = []
    for number, path in enumerate(paths):
        moved.append(tmp_path / f"{number}.npz")
        with np.load(path) as file:
            np.savez_compressed(moved[-1], **file)
    assert ShardedDataset(moved, read_shard, reward_range=BOUNDS).fingerprint() == own
    others = [moved[::-1], moved[:2]]
    assert len({own, *(ShardedDataset(files, read_shard, reward_range=BOUNDS).fingerprint() for files in others)}) == 3
    with np.load(moved[-1]) as file:
        arrays = dict(file)
    arrays["rewards"][-1] -= 1e-3
    np.savez(moved[-1], **arrays)
    assert ShardedDataset(moved, read_shard, reward_range=BOUNDS).fingerprint() != own


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observations": np.zeros((60, 3), np.float32)}, r"001.npz: `observations` is <f4\[60, 3\]; .* <f4\[60, 2\]"),
        (
            {"rewards": np.zeros(60)},
            r"001.npz: `rewards` is <f8\[60\]; every shard must have <f4\[60\], as in line-v0-000",
        ),
        (random_arrays(1, states=80), r"001.npz: `actions` is <f4\[80, 1\]; every shard must have <f4\[60, 1\]"),
        ({"qpos": np.zeros(60)}, "001.npz has the arrays .*qpos.*; every shard must have those of line-v0-000.npz"),
        ({"masks": np.array([None])}, "001.npz: `masks` cannot be read as plain numbers: it contains Python objects"),
    ],
)
def test_shards_of_other_shapes_are_refused_before_they_are_read(tmp_path, changes, message):
    paths = write_shards(tmp_path)
    np.savez(paths[1], **(random_arrays(1) | changes))
    with pytest.raises(ValueError, match=message) as refusal:
        ShardedDataset(paths, read_shard, reward_range=BOUNDS)
    assert "\n" not in str(refusal.value)


def test_episodes_of_another_length_are_refused_when_they_are_read(tmp_path):
    paths = write_shards(tmp_path)
    np.savez(paths[1], **random_arrays(1, episode=10))
    dataset = ShardedDataset(paths, read_shard, reward_range=BOUNDS)
    with pytest.raises(
        ValueError, match=r"001.npz contains 60 states and 54 transitions .* must contain 60 states and 57 tr"
    ):
        dataset.reader(paths[1])


@pytest.mark.parametrize("bounds", [(-0.5, 0.0), (-1.0, -0.5)])
def test_rewards_outside_of_the_range_are_refused(tmp_path, bounds):
    with pytest.raises(
        ValueError,
        match=rf"000.npz has rewards from -0.9\d+ to .*; they must be in the `reward_range` \[{bounds[0]:g}, ",
    ):
        ShardedDataset(write_shards(tmp_path), read_shard, reward_range=bounds)


def test_damage_is_found_when_a_shard_is_read_and_the_file_is_named(tmp_path):
    dataset = written(tmp_path)
    damage(dataset.paths[2])
    with pytest.raises(ValueError, match=r"line-v0-002.npz: `observations` cannot be read .*CRC"):
        dataset.reader(dataset.paths[2])
    dataset.paths[1].write_bytes(dataset.paths[1].read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"line-v0-001.npz is truncated"):
        ShardedDataset(dataset.paths, read_shard, reward_range=BOUNDS)


def test_a_reader_goes_to_another_process_without_data(tmp_path):
    dataset = written(tmp_path)
    sent = pickle.dumps(dataset.reader)
    assert len(sent) < 1000
    assert_same(pickle.loads(sent)(dataset.paths[1]), dataset.reader(dataset.paths[1]))


def test_a_folder_has_its_training_files_in_order(tmp_path):
    paths = write_shards(tmp_path, 12)
    for path in paths:
        path.with_name(f"{path.stem}-val.npz").touch()
    assert shard_paths(tmp_path) == paths
    paths[4].unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*line-v0-004.npz, although there are later shards"):
        shard_paths(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no npz file in the folder"):
        shard_paths(tmp_path / "none")
    with pytest.raises(ValueError, match="`paths` must have at least one file; got none"):
        ShardedDataset([], read_shard, reward_range=BOUNDS)


def test_recorded_episodes_are_shards_of_a_task_of_ones_own(tmp_path):
    paths = [tmp_path / f"{number}.npz" for number in range(2)]
    for number, path in enumerate(paths):
        steps = 8
        recorded = episodes_from_transitions(
            observations=np.arange(steps, dtype=float)[:, None] + number,
            actions=np.zeros((steps, 1)),
            rewards=np.full(steps, -1.0),
            next_observations=np.arange(1, steps + 1, dtype=float)[:, None] + number,
            terminated=np.zeros(steps, bool),
            truncated=np.arange(steps) % 4 == 3,
        )
        write_episodes(path, recorded)
    dataset = ShardedDataset(paths, read_dataset, reward_range=BOUNDS)
    task = GymnasiumTask(name="steps", dataset=dataset)
    assert (task.observation_dim, task.action_dim, task.reward_range, dataset.size) == (1, 1, BOUNDS, 16)
    assert json.loads(json.dumps(describe_data(task)))["fingerprint"] == dataset.fingerprint()
    for path in paths:
        whole = {name: array for name, array in vars(read_dataset(path)).items() if eqx.is_array(array)}
        read = dataset.reader(path)
        assert read.keys() == whole.keys()
        assert_same(read, whole)
