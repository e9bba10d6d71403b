"""Conversions: no transition, reward or termination of a source is lost, and what contradicts itself is refused."""

import itertools
import json
import os
import warnings
from dataclasses import replace
from pathlib import Path

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from own import Push

from floqzoo.tasks import (
    EpisodeArrays,
    RecordedEpisodes,
    concatenated_episodes,
    episodes_from_d4rl,
    episodes_from_lerobot,
    episodes_from_minari,
    episodes_from_ogbench,
    episodes_from_states,
    episodes_from_transitions,
    read_dataset,
    read_episodes,
    record_episodes,
    summarise,
    write_episodes,
)


LENGTHS = st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=4)
"""The steps of each episode, and whether it terminates."""
FEW = 10


def recorded(lengths, dtype=np.float32, width=3) -> list[EpisodeArrays]:
    """Episodes whose every number is another one."""
    rng = np.random.default_rng(len(lengths))
    return [
        EpisodeArrays(
            rng.normal(size=(steps + 1, width)).astype(dtype),
            rng.uniform(-1, 1, (steps, 2)).astype(dtype),
            rng.normal(size=steps).astype(dtype),
            terminated,
        )
        for steps, terminated in lengths
    ]


def steps_of(episodes: list[EpisodeArrays]) -> list[tuple]:
    """Every transition, as numbers."""
    return [
        (
            tuple(episode.observations[t]),
            tuple(episode.actions[t]),
            episode.rewards[t],
            bool(episode.terminated and t == len(episode.rewards) - 1),
            tuple(episode.observations[t + 1]),
        )
        for episode in episodes
        for t in range(len(episode.rewards))
    ]


def steps_in(file: RecordedEpisodes) -> list[tuple]:
    """Every transition of recorded episodes, as numbers."""
    steps, at = [], 0
    for number, length in enumerate(file.episode_lengths):
        for t in range(at, at + length):
            steps.append(
                (
                    tuple(file.observations[t + number]),
                    tuple(file.actions[t]),
                    file.rewards[t],
                    bool(file.terminated[t]),
                    tuple(file.observations[t + number + 1]),
                )
            )
        at += length
    return steps


def complete(episodes: list[EpisodeArrays]) -> list[tuple]:
    """The transitions that are left without the last one of truncated episodes; behind a termination its own state stands."""
    steps = []
    for episode in episodes:
        for step in steps_of([episode])[: None if episode.terminated else -1]:
            steps.append((*step[:4], step[0]) if step[3] else step)
    return steps


def rows_of(episodes: list[EpisodeArrays]) -> dict[str, np.ndarray]:
    """One row for each step, in the names of D4RL."""
    ends = [np.arange(len(episode.rewards)) == len(episode.rewards) - 1 for episode in episodes]
    return {
        "observations": np.concatenate([episode.observations[:-1] for episode in episodes]),
        "actions": np.concatenate([episode.actions for episode in episodes]),
        "rewards": np.concatenate([episode.rewards for episode in episodes]),
        "terminals": np.concatenate([end & e.terminated for end, e in zip(ends, episodes, strict=True)]),
        "timeouts": np.concatenate([end & (not e.terminated) for end, e in zip(ends, episodes, strict=True)]),
        "next_observations": np.concatenate([episode.observations[1:] for episode in episodes]),
    }


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    """A fresh path each time."""
    folder, numbers = tmp_path_factory.mktemp("new"), itertools.count()
    return lambda ending="": folder / f"{next(numbers)}{ending}"


@pytest.fixture(scope="module")
def h5py():
    return pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def minari():
    return pytest.importorskip("minari")


@pytest.fixture(scope="module")
def parquet():
    return pytest.importorskip("pyarrow.parquet")


# The file


@settings(max_examples=FEW)
@given(LENGTHS, st.sampled_from([np.float32, np.float64]), st.booleans())
def test_a_file_is_read_as_it_was_written(new, lengths, dtype, has_final_actions):
    recording = concatenated_episodes(recorded(lengths, dtype), action_low=[-1, -2], action_high=3)
    if has_final_actions:
        recording = replace(recording, final_actions=np.zeros((len(lengths), 2), dtype))
    path = new(".npz")
    write_episodes(path, recording)
    again = read_episodes(path)
    for name, array in vars(recording).items():
        found = getattr(again, name)
        assert (found is None) == (array is None)
        if array is not None:
            assert (found.dtype, found.tolist()) == (array.dtype, array.tolist())
    assert read_dataset(path).fingerprint() == recording.dataset().fingerprint()
    assert list(path.parent.glob(".*")) == []


@settings(max_examples=3)  # Every example has shapes of its own, and compiles.
@given(LENGTHS)
def test_a_dataset_holds_every_recorded_step(lengths):
    """Mapped actions and masks are those of the definition, and a termination within an episode does not cut it."""
    rng = np.random.default_rng(0)
    episodes = [
        replace(episode, terminated=rng.random(len(episode.rewards)) < 0.5)
        for episode in recorded(lengths, dtype=np.float64)
    ]
    recording = concatenated_episodes(episodes, action_low=[-1, -2], action_high=3)
    step = recording.dataset().transitions(jnp.arange(len(recording.rewards)))
    low, high = np.array([-1, -2]), np.array([3, 3])
    wanted = zip(*steps_in(recording), strict=True)
    for found, numbers in zip(
        (step.observation, step.action, step.reward, step.discount, step.next_observation), wanted, strict=True
    ):
        expected = np.array(numbers, np.float64)
        if found is step.action:
            expected = 2 * (expected - low) / (high - low) - 1
        if found is step.discount:
            expected = 1 - expected
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert summarise(recording.dataset()).episodes == len(lengths)


def test_final_actions_are_next_actions():
    recording = concatenated_episodes(recorded([(2, False), (1, True)]), action_low=-2, action_high=2)
    unknown, known = recording.dataset(), replace(recording, final_actions=[[1, 2], [-2, 0]]).dataset()
    assert summarise(unknown).without_next_action == 1
    assert known.with_next_actions() is known
    np.testing.assert_array_equal(known.transition(known.starts).next_action[1:], [[0.5, 1], [-1, 0]])


WHOLE = {
    "observations": np.arange(8.0).reshape(4, 2),
    "actions": np.zeros((3, 1)),
    "rewards": np.arange(3.0),
    "terminated": np.array([False, False, True]),
    "episode_lengths": np.array([3]),
    "action_low": np.array([-1.0]),
    "action_high": np.array([1.0]),
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": None}, "lacks rewards, and has action_high.*floqzoo convert"),
        ({"final_action": np.zeros((1, 1))}, "only the arrays of recorded episodes; it also has final_action"),
        ({"observations": np.array([{}] * 4)}, "`observations` cannot be read as plain numbers.*Python objects"),
        ({"observations": np.zeros((3, 2))}, r"`observations` must have 4 rows, .*one more for each episode; got 3"),
        (
            {"observations": np.full((4, 2), [[1], [2], [np.nan], [4]])},
            r"`observations` must be finite as float32; row 2 has \[nan",
        ),
        ({"actions": np.zeros((2, 1))}, "`actions` must have 3 rows, the sum of `episode_lengths`; got 2"),
        ({"rewards": np.zeros(2)}, r"`rewards` must have the shape \(3,\); got \(2,\)"),
        ({"terminated": np.array([0, 1, 2])}, "`terminated` must contain booleans, or 0 and 1"),
        ({"episode_lengths": np.array([3, 0])}, "`episode_lengths` must be at least 1; episode 1 has 0"),
        ({"episode_lengths": np.array([3.0])}, "`episode_lengths` must be a vector of at least one whole number; got"),
        ({"action_low": np.array([0.5])}, r"`actions` must lie between.*row 0 is 0, outside of \[0.5, 1\]"),
        ({"final_actions": np.zeros((2, 1))}, r"`final_actions` must have the shape \(1, 1\).*got \(2, 1\)"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, changes, message):
    path = tmp_path / "file.npz"
    np.savez(path, **{name: array for name, array in (WHOLE | changes).items() if array is not None})
    with pytest.raises(ValueError, match=message) as error:
        read_episodes(path)
    assert str(path) in str(error.value)


def test_a_truncated_file_and_a_wrong_name_are_refused(tmp_path):
    path, recording = tmp_path / "file.npz", RecordedEpisodes(**WHOLE)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_dataset(path)
    write_episodes(path, recording)
    content = path.read_bytes()
    with pytest.raises(FileExistsError, match="exists already, and a file is never replaced"):
        write_episodes(path, recording)
    with pytest.raises(ValueError, match=r"must have a name that ends with \.npz"):
        write_episodes(tmp_path / "file.hdf5", recording)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_episodes(tmp_path / "nowhere" / "file.npz", recording)
    for length in (0, 30, len(content) - 30):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"truncated, or not an npz|cannot be read"):
            read_dataset(path)


# D4RL


def write_hdf5(h5py, path, arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file["infos/qpos"] = np.zeros(3)
    return path


@settings(max_examples=FEW)
@given(LENGTHS, st.booleans(), st.booleans())
def test_d4rl_with_next_observations(h5py, new, lengths, wide, unordered):
    episodes, rng = recorded(lengths), np.random.default_rng(0)
    rows = rows_of(episodes)
    if wide:  # As some files have it.
        rows |= {name: rows[name][:, None] for name in ("rewards", "terminals", "timeouts")}
    if unordered:
        order = rng.permutation(len(rows["rewards"]))
        rows = {name: array[order] for name, array in rows.items() if name != "timeouts"}
    found = episodes_from_d4rl(write_hdf5(h5py, new(), rows), unordered=unordered)
    assert sorted(steps_in(found)) == sorted(steps_of(episodes))
    if not unordered:
        assert found.episode_lengths.tolist() == [steps for steps, _ in lengths]


@settings(max_examples=FEW)
@given(LENGTHS)
def test_d4rl_without_next_observations(h5py, new, lengths):
    """What terminates is kept; what is incomplete is refused with its number, or left out on request."""
    episodes = recorded(lengths)
    rows = rows_of(episodes)
    del rows["next_observations"]
    path, cut = write_hdf5(h5py, new(), rows), [e for e in episodes if not e.terminated]
    if cut:
        with pytest.raises(ValueError, match=f"{len(cut)} episodes end without termination.*{len(cut)} of"):
            episodes_from_d4rl(path)
    if not complete(episodes):
        with pytest.raises(ValueError, match="no transition is complete"):
            episodes_from_d4rl(path, drop_last=True)
        return
    found = episodes_from_d4rl(path, drop_last=bool(cut))
    assert steps_in(found) == complete(episodes)
    # The actions at the last states of truncated episodes are known.
    assert found.dataset().next_starts is None
    if cut:
        lasts = [e.actions[-1].tolist() for e in episodes if e.terminated or len(e.rewards) > 1]
        assert found.final_actions.tolist() == lasts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": None}, "it lacks rewards, and has actions, infos,"),
        ({"timeouts": None}, "it lacks timeouts"),
        ({"rewards": np.zeros(4)}, r"`rewards` must have the shape \(5,\); got \(4,\)"),
        ({"actions": np.zeros((4, 2))}, "`actions` must have 5 rows, as `observations` has; got 4"),
        ({"terminals": np.arange(5)}, "`terminals` must contain booleans, or 0 and 1"),
        (
            {"observations": np.array([[1.0], [2.0], [np.nan], [4.0], [5.0]])},
            "`observations` must be finite as float32; row 2",
        ),
        ({"observations": np.array([["a"]] * 5, "S1")}, "`observations` must be an array of real numbers"),
        (
            {"rewards": [f"{i}" for i in range(5)]},
            "`rewards` must be an array of real numbers; it contains Python objects",
        ),
        ({"timeouts": np.zeros(5, bool)}, "`observations` of row 3 must be `next_observations` of row 2"),
        ({"actions": np.full((5, 2), 3.0)}, r"`actions` must lie between.*row 0 is 3, outside of \[-1, 1\]"),
    ],
)
def test_d4rl_that_contradicts_itself_is_refused(h5py, tmp_path, changes, message):
    rows = rows_of(recorded([(3, False), (2, True)])) | changes
    path = write_hdf5(h5py, tmp_path / "bad.hdf5", {name: array for name, array in rows.items() if array is not None})
    with pytest.raises(ValueError, match=message) as error:
        episodes_from_d4rl(path)
    assert str(path) in str(error.value)


def test_d4rl_that_cannot_be_read_is_refused(h5py, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        episodes_from_d4rl(tmp_path / "none")
    path = write_hdf5(h5py, tmp_path / "cut.hdf5", rows_of(recorded([(3, True)])))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="truncated, or not an HDF5 file"):
        episodes_from_d4rl(path)
    with h5py.File(tmp_path / "huge.hdf5", "w") as file:
        for name, array in rows_of(recorded([(3, True)])).items():
            file[name] = array
        del file["observations"]
        file.create_dataset("observations", (10**9, 10**6), np.float32, chunks=(1, 10**6))
    with pytest.raises(ValueError, match=r"its arrays take 4,000,000,000,000,\d+ bytes; the limit is"):
        episodes_from_d4rl(tmp_path / "huge.hdf5")


# OGBench


@settings(max_examples=FEW)
@given(LENGTHS)
def test_ogbench_with_rewards(new, lengths):
    """Rows of states, of which terminations may be within an episode, and the last actions are known."""
    rng, episodes = np.random.default_rng(0), recorded(lengths)
    terminations = [rng.random(len(episode.rewards)) < 0.5 for episode in episodes]
    lasts = [rng.uniform(-1, 1, (1, 2)).astype(np.float32) for _ in episodes]
    arrays = {
        "observations": np.concatenate([e.observations for e in episodes]),
        "actions": np.concatenate([np.concatenate([e.actions, a]) for e, a in zip(episodes, lasts, strict=True)]),
        "rewards": np.concatenate([np.append(e.rewards, np.float32(0)) for e in episodes]),
        "masks": np.concatenate([np.append(1.0 - over, 1).astype(np.float32) for over in terminations]),
        "terminals": np.concatenate([np.arange(steps + 1) == steps for steps, _ in lengths]),
    }
    path = new(".npz")
    np.savez(path, **arrays)
    found = episodes_from_ogbench(path)
    wanted = [step[:3] + step[4:] for step in steps_of(episodes)]
    assert [step[:3] + step[4:] for step in steps_in(found)] == wanted
    assert found.terminated.tolist() == np.concatenate(terminations).tolist()
    assert found.final_actions.tolist() == np.concatenate(lasts).tolist()
    with pytest.raises(ValueError, match="`terminals` does not end with True"):
        episodes_from_states(**arrays | {"terminals": np.zeros(len(arrays["rewards"]), bool)})


def test_ogbench_is_labelled_as_load_labels_it(tmp_path):
    pytest.importorskip("ogbench")
    from floqzoo.tasks import load
    from floqzoo.tasks.collect import collect_script
    from floqzoo.tasks.scripts import find_script

    name = "pointmaze-medium-navigate-singletask-task1-v0"
    script = replace(find_script("pointmaze-medium-navigate-v0"), steps=1001)
    path = collect_script(script, episodes=2, seed=0, workers=1, directory=tmp_path)
    with pytest.raises(ValueError, match=r"lacks rewards, masks.*`env_name`"):
        episodes_from_ogbench(path)
    wanted, found = load(name, dataset_path=path, action_limit=1.0).dataset, episodes_from_ogbench(path, env_name=name)
    assert found.terminated.any()
    for left, right in zip(*(vars(d.transition(d.starts)).values() for d in (wanted, found.dataset())), strict=True):
        np.testing.assert_array_equal(left, right)


# Minari


class Nothing(gymnasium.Env):
    """Only its spaces."""

    def __init__(self, observation_space=None, high=3.0):
        self.observation_space = observation_space or gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = gymnasium.spaces.Box(-2.0, high, (2,), np.float64)


@pytest.fixture(scope="module")
def write_minari(minari, tmp_path_factory):
    """Writes episodes with Minari, and gives the name of the dataset."""
    from minari.data_collector.episode_buffer import EpisodeBuffer

    numbers = itertools.count()

    def write(episodes, environment, observations=lambda episode: episode.observations):
        buffers = []
        for number, episode in enumerate(episodes):
            last = np.arange(len(episode.rewards)) == len(episode.rewards) - 1
            buffers.append(
                EpisodeBuffer(
                    id=number,
                    observations=observations(episode),
                    actions=episode.actions,
                    rewards=episode.rewards.tolist(),
                    terminations=(last & episode.terminated).tolist(),
                    truncations=(last & (not episode.terminated)).tolist(),
                    infos={},
                )
            )
        name, spaces = f"toy/{next(numbers)}-v0", environment
        with warnings.catch_warnings(action="ignore"):
            minari.create_dataset_from_buffers(
                name, buffers, observation_space=spaces.observation_space, action_space=spaces.action_space
            )
        return name

    folder = tmp_path_factory.mktemp("minari")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        yield write


@settings(max_examples=FEW)
@given(LENGTHS)
def test_minari(write_minari, lengths):
    episodes = recorded(lengths, np.float64)
    found = episodes_from_minari(write_minari(episodes, Nothing()))
    assert steps_in(found) == steps_of(episodes)
    assert found.episode_lengths.tolist() == [steps for steps, _ in lengths]
    assert (found.action_low.tolist(), found.action_high.tolist()) == ([-2, -2], [3, 3])


def test_minari_with_dictionaries_and_from_a_folder(write_minari):
    box = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
    environment = Nothing(gymnasium.spaces.Dict({"state": box, "goal": box}))
    episodes = recorded([(3, True), (2, False)], np.float64)
    name = write_minari(episodes, environment, lambda e: {"state": e.observations, "goal": -e.observations})
    folder = Path(os.environ["MINARI_DATASETS_PATH"], name)
    found = episodes_from_minari(folder, observation_keys=("goal", "state"))
    states = np.concatenate([episode.observations for episode in episodes])
    np.testing.assert_array_equal(found.observations, np.concatenate([-states, states], axis=1))
    for keys in ((), ("state", "gaol")):
        with pytest.raises(ValueError, match="`observation_keys` must name some of goal, state"):
            episodes_from_minari(name, observation_keys=keys)


def test_minari_that_contradicts_itself_is_refused(h5py, write_minari, tmp_path):
    with pytest.raises(FileNotFoundError, match="download it with `minari download toy/none-v0`"):
        episodes_from_minari("toy/none-v0")
    with pytest.raises(ValueError, match="must be a folder of a Minari dataset"):
        episodes_from_minari(tmp_path)
    episodes = recorded([(3, True), (2, False)], np.float64)
    endless = write_minari(episodes, Nothing(high=np.inf))
    with pytest.raises(ValueError, match="`action_high` must be a finite number, or 2 of them"):
        episodes_from_minari(endless)
    assert episodes_from_minari(endless, action_high=5).action_high.tolist() == [5, 5]
    name = write_minari(episodes, Nothing())
    with pytest.raises(ValueError, match="`observation_keys` must be empty"):
        episodes_from_minari(name, observation_keys=("state",))
    data = Path(os.environ["MINARI_DATASETS_PATH"], name, "data")
    with h5py.File(data / "main_data.hdf5", "r+") as file:
        file["episode_1/observations"][1, 2] = np.nan
    with pytest.raises(ValueError, match="episode 1: `observations` must be finite as float32; row 1 has"):
        episodes_from_minari(name)
    with h5py.File(data / "main_data.hdf5", "r+") as file:
        del file["episode_1/rewards"]
        file["episode_1/rewards"] = np.zeros(3)
    with pytest.raises(ValueError, match="episode 1: `"):
        episodes_from_minari(name)


# LeRobot


def test_minari_that_claims_more_than_the_memory_is_refused_unread(h5py, write_minari):
    name = write_minari(recorded([(3, True)]), Nothing())
    with h5py.File(Path(os.environ["MINARI_DATASETS_PATH"]) / name / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0/observations"]
        file["episode_0"].create_dataset("observations", (10**9, 10**6), np.float32, chunks=(1, 10**6))
    with pytest.raises(ValueError, match=r"its arrays take 4,000,000,000,000,\d+ bytes; the limit is"):
        episodes_from_minari(name)


def write_lerobot(parquet, folder, episodes, *, version=3, leave_out=(), **changes):
    """Writes the files that LeRobot does: a table for each episode in version 2, for several in version 3."""
    import pyarrow

    tables = []
    for number, episode in enumerate(episodes):
        last = np.arange(len(episode.rewards)) == len(episode.rewards) - 1
        columns = {
            "observation.state": episode.observations[:-1].tolist(),
            "action": episode.actions.tolist(),
            "next.reward": episode.rewards,
            "next.done": last,
            "next.truncated": last & (not episode.terminated),
            "frame_index": np.arange(len(last)),
            "episode_index": np.full(len(last), number),
            "timestamp": np.arange(len(last), dtype=np.float32) / 10,
            "note": ["text"] * len(last),
        }
        kinds = {"observation.state": episode.observations.shape[1], "action": episode.actions.shape[1]}
        columns = {name: values for name, values in (columns | changes).items() if name not in leave_out}
        tables.append(
            pyarrow.table(
                {
                    name: pyarrow.array(values, pyarrow.list_(pyarrow.float32(), kinds[name]))
                    if name in kinds and name not in changes
                    else pyarrow.array(values)
                    for name, values in columns.items()
                }
            )
        )
    (folder / "data" / "chunk-000").mkdir(parents=True)
    (folder / "meta").mkdir()
    info = {"total_episodes": len(episodes), "total_frames": sum(len(episode.rewards) for episode in episodes)}
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    if version == 2:
        for number, table in enumerate(tables):
            parquet.write_table(table, folder / "data" / "chunk-000" / f"episode_{number:06d}.parquet")
    else:
        for number, part in enumerate((tables[:2], tables[2:])):
            if part:
                parquet.write_table(
                    pyarrow.concat_tables(part), folder / "data" / "chunk-000" / f"file-{number:03d}.parquet"
                )
    return folder


@settings(max_examples=FEW)
@given(LENGTHS, st.sampled_from([2, 3]), st.sampled_from(["truncated", "terminated"]), st.booleans())
def test_lerobot(parquet, new, lengths, version, done, has_truncated):
    episodes = recorded(lengths)
    if not has_truncated:  # All episodes end alike.
        episodes = [replace(episode, terminated=done == "terminated") for episode in episodes]
    leave_out = () if has_truncated else ("next.truncated",)
    folder = write_lerobot(parquet, new(), episodes, version=version, leave_out=leave_out)
    options = {"done": None if has_truncated else done, "action_low": -1, "action_high": 1}
    cut = sum(not episode.terminated for episode in episodes)
    if cut:
        with pytest.raises(ValueError, match=f"and {cut} episodes end without termination, first in row"):
            episodes_from_lerobot(folder, **options)
    if complete(episodes):
        found = episodes_from_lerobot(folder, drop_last=bool(cut), **options)
        assert steps_in(found) == complete(episodes)


def test_a_folder_that_is_not_of_lerobot_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere/meta/info.json\."):
        episodes_from_lerobot(tmp_path / "nowhere")


def test_lerobot_without_rewards_or_ends(parquet, tmp_path):
    """Demonstrations: nothing is done, one reward for every step, several columns, and the bounds of the data."""
    episodes = recorded([(4, False), (3, False)], width=1)
    folder = write_lerobot(parquet, tmp_path / "a", episodes, leave_out=("next.reward", "next.done", "next.truncated"))
    keys = ("timestamp", "observation.state")
    found = episodes_from_lerobot(folder, observation_keys=keys, constant_reward=-1.0, drop_last=True)
    assert found.rewards.tolist() == [-1] * 5
    assert found.observations.shape == (7, 2)
    assert not found.terminated.any()
    actions = np.concatenate([episode.actions for episode in episodes])
    assert found.action_low.tolist() == actions.min(axis=0).tolist()
    assert found.action_high.tolist() == actions.max(axis=0).tolist()
    with pytest.raises(ValueError, match=r"it lacks next.reward, and has action, .*set `constant_reward`"):
        episodes_from_lerobot(folder, drop_last=True)


@pytest.mark.parametrize(
    ("changes", "leave_out", "message"),
    [
        ({}, ("action",), "it lacks action, and has episode_index"),
        ({}, ("episode_index",), "it lacks episode_index"),
        ({}, ("next.truncated",), "`done` must be 'terminated' or 'truncated', to define .* 1 frames are done"),
        (
            {"frame_index": [0, 1, 3]},
            (),
            "`frame_index` must count from 0 in each episode; episode 0 has 3 instead of 2",
        ),
        (
            {"observation.state": [[1.0], [2.0], [float("nan")]]},
            (),
            r"`observation.state` must be finite as float32; row 2 has",
        ),
        ({"observation.state": [[1.0], [2.0], [3.0, 4.0]]}, (), r"`observation.state` must have the same length.*1, 2"),
        ({"observation.state": [[1.0], [2.0], None]}, (), "`observation.state` must have a value in each frame; row 2"),
        ({"next.reward": [1.0, None, 2.0]}, (), "`next.reward` must have a value in each frame; row 1"),
        ({"observation.state": ["a", "b", "c"]}, (), "it lacks observation.state"),
        ({"action": [[0.5], [0.5], [0.5]]}, (), "`action_low` must be below `action_high`"),
    ],
)
def test_lerobot_that_contradicts_itself_is_refused(parquet, tmp_path, changes, leave_out, message):
    folder = write_lerobot(parquet, tmp_path / "bad", recorded([(3, True)]), leave_out=leave_out, **changes)
    with pytest.raises(ValueError, match=message) as error:
        episodes_from_lerobot(folder)
    assert str(folder) in str(error.value)


def test_lerobot_that_unpacks_to_more_than_the_memory_is_refused_unread(parquet, tmp_path, monkeypatch):
    """A million equal numbers are eight million bytes, and hardly any in a file."""
    import pyarrow

    folder = write_lerobot(parquet, tmp_path / "equal", recorded([(3, True)]))
    path = folder / "data" / "chunk-000" / "file-001.parquet"
    parquet.write_table(pyarrow.table({"next.reward": np.zeros(10**6)}), path)
    assert path.stat().st_size < 10**4
    monkeypatch.setattr("floqzoo.tasks.datafile.available_memory", lambda: 10**6)
    monkeypatch.setattr(parquet, "read_table", lambda *_, **__: pytest.fail("a table was read"))
    with pytest.raises(ValueError, match=r"its arrays take 8,[\d,]+ bytes; the limit is 500,000 bytes"):
        episodes_from_lerobot(folder)


def test_lerobot_with_missing_files_is_refused(parquet, tmp_path):
    folder = write_lerobot(parquet, tmp_path / "bad", recorded([(3, True)] * 3), version=2)
    (folder / "data" / "chunk-000" / "episode_000001.parquet").unlink()
    with pytest.raises(ValueError, match=r"`total_frames` of meta/info.json must be 6, as in data/; got 9"):
        episodes_from_lerobot(folder)
    (folder / "data" / "chunk-000" / "episode_000000.parquet").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="its Parquet files cannot be read as one table"):
        episodes_from_lerobot(folder)
    with pytest.raises(FileNotFoundError):
        episodes_from_lerobot(tmp_path)


# Gymnasium


@settings(max_examples=FEW)
@given(LENGTHS, st.integers(0, 9))
def test_transitions_are_the_episodes_that_they_come_from(lengths, seed):
    episodes = recorded(lengths, np.float64)
    rows = rows_of(episodes)
    found = episodes_from_transitions(
        terminated=rows.pop("terminals"), truncated=rows.pop("timeouts"), **rows, action_high=1 + seed
    )
    wanted = concatenated_episodes(episodes, action_high=1 + seed)
    for name, array in vars(wanted).items():
        if array is not None:
            np.testing.assert_array_equal(getattr(found, name), array)


class Logged(gymnasium.Wrapper):
    """Ends at random, and logs what an agent sees; gives one array away again and again."""

    def __init__(self, log):
        super().__init__(Push())
        self.log, self.shared = log, np.zeros(2)

    def reset(self, *, seed=None, options=None):
        observation, info = self.env.reset(seed=seed)
        self.log.append([])
        self.shared[:] = observation
        return self.shared, info

    def step(self, action):
        before = tuple(self.shared)
        observation, reward, _, _, info = self.env.step(action)
        terminated, truncated = (self.env.unwrapped.np_random.random() < 0.2 for _ in range(2))
        self.shared[:] = observation
        self.log[-1].append((before, tuple(action), reward, terminated, tuple(observation)))
        return self.shared, reward, terminated, truncated, info


@settings(max_examples=FEW)
@given(st.integers(1, 4), st.integers(0, 2**32 - 1), st.booleans())
def test_what_is_recorded_is_what_happened(episodes, seed, own_policy):
    logs: tuple[list, list] = ([], [])
    policy = (lambda observation, rng: np.clip(observation[:1], 0, 3) * rng.random()) if own_policy else None
    found, again = (
        record_episodes(lambda log=log: Logged(log), policy, episodes=episodes, seed=seed, max_episode_steps=7)
        for log in logs
    )
    assert steps_in(found) == [step for episode in logs[0] for step in episode]
    assert found.episode_lengths.tolist() == [len(episode) for episode in logs[0]]
    assert len(logs[0]) == episodes
    assert (found.action_low.tolist(), found.action_high.tolist()) == ([0], [3])
    np.testing.assert_array_equal(found.observations, again.observations)


def test_recordings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="`max_episode_steps` must be set for Push, which is neither"):
        record_episodes(Push, episodes=1)
    with pytest.raises(ValueError, match="`episodes` must be at least 1; got 0"):
        record_episodes(Push, episodes=0, max_episode_steps=3)
    with pytest.raises(ValueError, match="episode 0: `observations` must be finite as float32; row 2 has"):
        record_episodes(lambda: Push(broken_at=2), episodes=1, max_episode_steps=3)
    with pytest.raises(ValueError, match=r"coordinate 0 of row 0 is -1, outside of \[0, 3\]"):
        record_episodes(Push, lambda *_: np.array([-1.0]), episodes=1, max_episode_steps=3)
    with pytest.raises(ValueError, match=r"the action space of .* must be a Box"):
        record_episodes(lambda: gymnasium.make("CartPole-v1"), episodes=1)


@pytest.mark.parametrize("name", ["visual-cube-single-play-singletask-v0", "cube-single-play-oraclerep-v0"])
def test_frames_and_goals_of_ogbench_are_not_converted(name, tmp_path):
    pytest.importorskip("ogbench")
    with pytest.raises(ValueError, match=f"neither frames nor goals are converted; got {name}"):
        episodes_from_ogbench(tmp_path / "data.npz", env_name=name)
