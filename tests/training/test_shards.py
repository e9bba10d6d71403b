"""Training on a dataset of many files: each update samples from its shard, and nothing else differs."""

import gc
import multiprocessing
import os
import signal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random as jr
from test_resume import Interrupting, assert_same_run, assert_same_tables
from toy_run import TOY_RECIPE, ToyTask, new_run, toy_build, toy_config, toy_state, toy_task
from written_shards import damage, read_or_die, read_shard, written

import floqzoo as fz
from floqzoo.learner import ActionChunks, GeometricFuture, ScannedUpdate, build_agents, update_keys
from floqzoo.learner.devices import one_device
from floqzoo.runs import checkpoint_steps, restore_checkpoint
from floqzoo.tasks.read_ahead import ReadAhead, ShardError
from floqzoo.training import prepared_run, resume
from floqzoo.training.phases import OfflinePhase, require_online, updates_in_a_call
from floqzoo.training.resident_shard import ResidentShard, require_replaceable


# The interval is no multiple of another one, so runs are interrupted amid a shard.
LIVELY = {"offline_steps": 24, "log_interval": 6, "eval_interval": 6, "save_interval": 6, "seeds": 2, "seed": 5}
INTERVAL = 4


@pytest.fixture
def x64():
    # Not `jax.enable_x64`, which holds in one thread: the process that reads takes over what holds in all.
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


class Memory(eqx.Module):
    """An agent that learns a digest of all batches, in which every number of a batch has a random weight."""

    digest: jax.Array
    parts, step = fz.ActorCritic(None, None), 0

    def update(self, batch, key):
        leaves = jax.tree.leaves(batch)
        keys = jr.split(key, len(leaves))
        sums = [jnp.sum(jr.normal(k, leaf.shape, leaf.dtype) * leaf) for k, leaf in zip(keys, leaves, strict=True)]
        digest = 0.9 * self.digest + jnp.stack(sums).sum()
        return Memory(digest), {"digest": digest}


def memory(key):
    return Memory(jr.normal(key, ()))


class Shelf:
    """Reads in this process, and records what is held ahead and what is placed."""

    def __init__(self, dataset):
        self.dataset, self.ahead, self.received, self.most = dataset, set(), [], 0

    def request(self, number):
        self.ahead.add(number)
        self.most = max(self.most, len(self.ahead))

    def receive(self, number):
        self.request(number)
        self.ahead.remove(number)
        self.received.append(number)
        # Copies: an array of NumPy may be a view of one of JAX, as another process would not have it.
        return {name: np.array(array) for name, array in self.dataset.reader(self.dataset.paths[number]).items()}

    def close(self):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "reader"),
    [
        (toy_build, lambda: fz.NStep()),
        (memory, lambda: fz.NStep(3, 0.9, next_action=True)),
        (memory, lambda: ActionChunks(4, 0.9)),
        (memory, lambda: GeometricFuture(0.9)),
    ],
)
def test_training_over_shards_is_training_on_each_of_them_in_turn(tmp_path, monkeypatch, x64, build, reader):
    """In float64, for two seeds: shards 0, 1, 2, 0, 1 for four updates each, against a loop of single updates."""
    dataset = written(tmp_path, dtype=np.float64)
    if build is memory:  # another process reads for one of the cases
        monkeypatch.setattr("floqzoo.training.resident_shard.ReadAhead", Shelf)
    shards = [read_shard(path) for path in dataset.paths]
    assert shards[0].observations.dtype == np.float64
    seeds, source = (3, 4), fz.UniformBatches(reader())
    agents, keys = build_agents(build, seeds), update_keys(seeds)
    config = toy_config(offline_steps=20, log_interval=20, eval_interval=0, save_interval=0, dataset_replace_interval=4)
    phase = OfflinePhase(config, 0, agents, dataset, source, one_device())
    single = ScannedUpdate(agents, config.agent.batch_size, 1, source=source)
    arrays, expected = phase.update.arrays(agents), single.arrays(agents)
    try:
        phase.begin(None)
        phase.compile(arrays, keys)
        for step in range(0, 20, phase.steps):
            phase.prepare(step)
            arrays, _ = phase.advance(arrays, keys, step)
            for update in range(step, step + phase.steps):
                expected, _ = single(expected, shards[update // 4 % 3], keys, update)
            for ours, theirs in zip(jax.tree.leaves(arrays), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)
    finally:
        phase.close()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return written(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """A run over the shards that was never interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared_run, "load_task", lambda config: ToyTask(dataset))
        directory = shard_run(tmp_path_factory.mktemp("runs") / "whole", dataset)
        resume(directory, recipe=TOY_RECIPE)
    return directory


def shard_run(directory, dataset):
    return new_run(directory, ToyTask(dataset), dataset_replace_interval=INTERVAL, **LIVELY)


@pytest.mark.slow
def test_a_run_that_is_interrupted_amid_a_shard_is_the_same_run(whole, dataset, tmp_path, monkeypatch):
    """Stopped in its first evaluation, after six updates, two of them on the second shard."""
    directory = shard_run(tmp_path / "run", dataset)
    monkeypatch.setattr(prepared_run, "load_task", lambda config: ToyTask(dataset, make_environment=Interrupting))
    result = resume(directory, recipe=TOY_RECIPE)
    assert (result.stopped_by, result.steps) == (signal.SIGINT, 6)
    monkeypatch.setattr(prepared_run, "load_task", lambda config: ToyTask(dataset))
    assert resume(directory, recipe=TOY_RECIPE).stopped_by is None
    assert_same_run(whole, directory)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_damaged_shard_stops_a_run_which_goes_on_when_it_is_repaired(whole, dataset, tmp_path, monkeypatch):
    """Shard 2 is needed from update 8 on; those before it are kept in a checkpoint of their own."""
    directory = shard_run(tmp_path / "run", dataset)
    monkeypatch.setattr(prepared_run, "load_task", lambda config: ToyTask(dataset))
    before = damage(dataset.paths[2])
    try:
        with pytest.raises(
            ShardError, match=r"002.npz: `observations` cannot be read .*CRC.* latest checkpoint, of step 8, is in"
        ) as stop:
            resume(directory, recipe=TOY_RECIPE)
    finally:
        dataset.paths[2].write_bytes(before)
    assert "\n" not in str(stop.value)
    assert checkpoint_steps(directory / "checkpoints")[-1] == 8
    resume(directory, recipe=TOY_RECIPE)
    assert_same_tables(whole, directory)
    ends = [restore_checkpoint(run / "checkpoints", toy_state(0, 1)) for run in (whole, directory)]
    assert [end.step for end in ends] == [24, 24]
    for ours, theirs in zip(*(jax.tree.leaves(end.tree.agents) for end in ends), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("first", [0, 5, 14])
@pytest.mark.parametrize("shards", [1, 2, 3])
def test_one_shard_is_on_the_device_and_at_most_one_is_read_ahead(tmp_path, monkeypatch, first, shards):
    """From any step on, every shard is received once for its interval, and none for after the last update."""
    states = 20 * (61 + 3 * first + shards)  # a shape of this case alone
    dataset = written(tmp_path, shards, states=states)
    shelf = Shelf(dataset)
    monkeypatch.setattr("floqzoo.training.resident_shard.ReadAhead", lambda dataset: shelf)

    def on_the_device():
        return sum(leaf.shape == (states, 2) for leaf in jax.live_arrays())

    def place(arrays):
        assert on_the_device() == before
        return jax.tree.map(jnp.array, arrays)

    rewards = [np.array(read_shard(path).rewards) for path in dataset.paths]
    gc.collect()
    before = on_the_device()
    assert before == 1  # the excerpt
    resident = ResidentShard(dataset, 4, 19, place)
    for step in range(first, 19):
        np.testing.assert_array_equal(resident.at(step).rewards, rewards[step // 4 % shards])
        assert on_the_device() == before + 1
    used = [step // 4 % shards for step in range(first, 19)]
    assert shelf.received == [number for at, number in enumerate(used) if at == 0 or number != used[at - 1]]
    assert shelf.most == 1
    assert not shelf.ahead
    resident.close()
    assert on_the_device() == before


@pytest.mark.slow
def test_a_reader_that_dies_is_one_sentence_with_the_name_of_the_file(tmp_path):
    ahead = ReadAhead(written(tmp_path, read=read_or_die))
    try:
        np.testing.assert_array_equal(ahead.receive(0)["rewards"], read_shard(tmp_path / "line-v0-000.npz").rewards)
        ahead.request(1)
        for number in (1, 2):  # the second time it is known when the shard is requested
            with pytest.raises(
                ShardError, match=rf"process .* died before it had read .*00{number}\.npz\. Possible causes: too"
            ) as stop:
                ahead.receive(number)
            assert "\n" not in str(stop.value)
    finally:
        ahead.close()


@pytest.mark.slow
def test_the_process_that_reads_ends_with_its_owner_and_ignores_the_signals_of_its_group(tmp_path):
    ahead = ReadAhead(written(tmp_path))
    ahead.receive(0)
    (process,) = multiprocessing.active_children()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process.pid, number)
    assert len(ahead.receive(1)["rewards"]) == 60
    ahead.close()
    ahead.close()
    assert not multiprocessing.active_children()


def test_no_call_runs_past_a_replacement():
    for interval in (1, 6, 7, 10, 1000):
        for step in (0, 40, 12):
            steps = {"offline_steps": 4000, "log_interval": 200, "eval_interval": 0, "save_interval": 0}
            config = toy_config(dataset_replace_interval=interval, **steps)
            count = updates_in_a_call(config, step, 10, sharded=True)
            assert interval % count == step % count == 4000 % count == 0
            assert updates_in_a_call(config, step, 10) >= count


def test_the_default_interval_is_that_of_the_official_code():
    intervals = {"cube-quadruple-play-singletask-v0": 1000, "humanoidmaze-giant-navigate-singletask-v0": 4000}
    for name, interval in intervals.items():
        assert toy_config(env_name=name).replace_interval == interval
        assert toy_config(env_name=name, dataset_replace_interval=7).replace_interval == 7
    with pytest.raises(ValueError, match="`dataset_replace_interval` must be at least 1; got 0"):
        toy_config(dataset_replace_interval=0)


def test_what_does_not_fit_the_dataset_is_refused(dataset):
    with pytest.raises(ValueError, match=r"`dataset_replace_interval` must be None, since .* several files.*; got 5"):
        require_replaceable(toy_config(dataset_replace_interval=5), toy_task().dataset)
    with pytest.raises(ValueError, match="`online_steps` must be 0 with a ShardedDataset, which has no replay buffer"):
        require_online(toy_config(online_steps=8), ToyTask(dataset))
