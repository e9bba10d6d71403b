"""Loading: OGBench's own transitions, with rewards whose timing is what it is said to be."""

import json
import pickle
import urllib.error
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.policies import FunctionPolicy
from floqzoo.rollout import evaluate
from floqzoo.rollout.episode_player import EpisodePlayer
from floqzoo.tasks import load, task_name
from floqzoo.tasks.collect import collect_script
from floqzoo.tasks.load import TaskReader
from floqzoo.tasks.scripts import find_script
from floqzoo.tasks.simulator import make, make_with_goals, sparse


ogbench = pytest.importorskip("ogbench")
gymnasium = pytest.importorskip("gymnasium")

TASKS = {
    "pointmaze-medium-navigate-singletask-task1-v0": "pointmaze-medium-navigate-v0",
    "cube-double-play-singletask-v0": "cube-double-play-v0",
    "scene-play-singletask-task1-v0": "scene-play-v0",
    "puzzle-3x3-noisy-singletask-task4-v0": "puzzle-3x3-noisy-v0",
}
MAZE = "pointmaze-medium-navigate-singletask-task1-v0"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small collected file for each task, the maze's with visits of its goal."""
    directory = tmp_path_factory.mktemp("data")
    return {
        task: collect_script(
            replace(find_script(name), steps=1001 if task == MAZE else 40),
            episodes=4 if task == MAZE else 2,
            seed=0,
            workers=1,
            directory=directory,
        )
        for task, name in TASKS.items()
    }


@pytest.fixture
def maze(files, tmp_path):
    """The arrays of the maze's file, and a function that writes them again, changed."""
    with np.load(files[MAZE]) as file:
        arrays = {key: file[key] for key in file.files}

    def write(**changes):
        for name in ("data.npz", "data-val.npz"):
            np.savez(tmp_path / name, **{**arrays, **changes})
        return tmp_path / "data.npz"

    return arrays, write


def transitions(dataset):
    batch = dataset.transitions(jnp.arange(dataset.size))
    return {
        "observations": batch.observation,
        "actions": batch.action,
        "rewards": batch.reward,
        "masks": batch.discount,
        "next_observations": batch.next_observation,
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Box")
@pytest.mark.parametrize("name", TASKS)
def test_the_transitions_are_ogbenchs(files, name):
    task = load(name, dataset_path=files[name], action_limit=1.0)
    environment, *splits = ogbench.make_env_and_datasets(name, dataset_path=str(files[name]))
    for dataset, expected in zip((task.dataset, task.validation), splits, strict=True):
        for key, array in transitions(dataset).items():
            np.testing.assert_array_equal(array, expected[key])
            assert array.dtype == jnp.float32
        assert dataset.reward_range == (expected["rewards"].min(), expected["rewards"].max())
    assert task.observation_dim == environment.observation_space.shape[0]
    assert task.action_dim == environment.action_space.shape[0]


def visits(task):
    """Transitions of the maze near the time at which the goal is reached or left, and some others."""
    rewards = np.asarray(task.dataset.rewards)[np.asarray(task.dataset.starts)]
    changes = np.flatnonzero(np.diff(rewards))
    assert len(changes) >= 2
    near = np.concatenate([changes + shift for shift in (-1, 0, 1)])
    return np.unique(np.concatenate([near, np.arange(0, len(rewards), 97)]).clip(0, len(rewards) - 1))


@pytest.mark.slow
@pytest.mark.parametrize("timing", ["pre", "post"])
def test_the_data_are_paid_as_an_environment_of_the_same_timing_pays(files, timing):
    task = load(MAZE, dataset_path=files[MAZE], success_timing=timing, reward_timing=timing, action_limit=1.0)
    environment = task.make_environment()
    environment.reset()
    batch = task.dataset.transitions(jnp.asarray(visits(task)))
    for number in range(len(batch.reward)):
        state = np.asarray(batch.observation[number], np.float64)
        environment.unwrapped.set_state(state, np.zeros(2))
        _, reward, terminated, _, _ = environment.step(np.asarray(batch.action[number]))
        assert reward == batch.reward[number]
        assert terminated == (batch.discount[number] == 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_post_is_pre_one_state_ahead(files, name):
    pre, post = (load(name, dataset_path=files[name], reward_timing=timing).dataset for timing in ("pre", "post"))
    starts = pre.starts
    for key in ("rewards", "masks"):
        np.testing.assert_array_equal(getattr(post, key)[starts], getattr(pre, key)[starts + 1])
    np.testing.assert_array_equal(pre.observations, post.observations)
    assert (pre.fingerprint() == post.fingerprint()) == bool((pre.rewards[1:] == pre.rewards[:-1]).all())


def recorded(name, path, steps=6):
    """Writes random steps in the environment of a task to a file and its validation file; returns rewards and masks."""
    environment, rows, row = make(task_name(name).environment), [], {}
    environment.action_space.seed(0)
    simulator = environment.unwrapped
    observation, _ = environment.reset(seed=0)
    for step in range(steps + 1):
        row = {"observations": observation, "qpos": simulator.data.qpos.copy(), "terminals": step == steps}
        if hasattr(simulator, "_cur_button_states"):
            row["button_states"] = simulator._cur_button_states.copy()
        row["actions"] = environment.action_space.sample()
        observation, row["rewards"], row["masks"], *_ = environment.step(row["actions"])
        rows.append(row)
    environment.close()
    arrays = {key: np.stack([row[key] for row in rows]) for key in row}
    rewards, masks = arrays.pop("rewards")[:-1], 1.0 - arrays.pop("masks")[:-1]
    dtypes = {"terminals": bool, "button_states": np.int64}
    for file in (path, path.with_name(f"{path.stem}-val.npz")):
        np.savez(file, **{key: array.astype(dtypes.get(key, np.float32)) for key, array in arrays.items()})
    return rewards, masks


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "antmaze-medium-navigate-singletask-task1-v0",
        "humanoidmaze-medium-stitch-singletask-v0",
        "antsoccer-arena-navigate-singletask-v0",
        "cube-octuple-play-singletask-task2-v0",
        "puzzle-4x6-noisy-singletask-task3-v0",
    ],
)
def test_tasks_of_all_families_load_from_a_file_and_are_evaluated(name, tmp_path):
    rewards, masks = recorded(name, tmp_path / "data.npz")
    task = load(name, dataset_path=tmp_path / "data.npz")
    steps = transitions(task.dataset)
    np.testing.assert_array_equal(steps["rewards"], rewards)
    np.testing.assert_array_equal(steps["masks"], masks)
    lowest, _ = TaskReader(task.name, "pre", 1.0).reward_range
    assert lowest <= min(rewards)

    still = fz.ActorCritic(fz.NullCritic(), FunctionPolicy(lambda observation: jnp.zeros(task.action_dim)))
    evaluation = evaluate(still, lambda: gymnasium.wrappers.TimeLimit(task.make_environment(), 3), episodes=1, seed=0)
    assert (evaluation.success_rate, evaluation.length.tolist()) == (0.0, [3])
    assert 3 * lowest <= evaluation.mean_return < 0


def goals_name(name):
    return f"{TASKS[name].removesuffix('-v0')}-oraclerep-v0"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Box")
@pytest.mark.parametrize("name", TASKS)
def test_oracle_representations_are_ogbenchs(files, name):
    task = load(goals_name(name), dataset_path=files[name], action_limit=1.0)
    environment, *splits = ogbench.make_env_and_datasets(goals_name(name), dataset_path=str(files[name]))
    for dataset, expected in zip((task.dataset, task.validation), splits, strict=True):
        found = transitions(dataset.states)
        assert dataset.goal_dim == expected["oracle_reps"].shape[1]
        np.testing.assert_array_equal(found["observations"][:, : -dataset.goal_dim], expected["observations"])
        np.testing.assert_array_equal(found["observations"][:, -dataset.goal_dim :], expected["oracle_reps"])
        np.testing.assert_array_equal(found["actions"], expected["actions"])
        assert found["masks"].all() and found["observations"].dtype == jnp.float32
    _, info = environment.reset(seed=0)
    assert task.observation_dim == environment.observation_space.shape[0] + len(info["goal"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "goal_dim"),
    [
        ("antmaze-medium-navigate", 2),
        ("antsoccer-arena-navigate", 2),
        ("humanoidmaze-medium-stitch", 2),
        ("cube-octuple-play", 24),
        ("puzzle-4x6-noisy", 24),
    ],
)
def test_goal_conditioned_tasks_of_all_families_load_from_a_file_and_are_evaluated(name, goal_dim, tmp_path):
    recorded(f"{name}-oraclerep-v0", tmp_path / "data.npz")
    task = load(f"{name}-oraclerep-v0", dataset_path=tmp_path / "data.npz")
    assert task.dataset.goal_dim == task.validation.goal_dim == goal_dim
    still = fz.ActorCritic(fz.NullCritic(), FunctionPolicy(lambda observation: jnp.zeros(task.action_dim)))
    evaluation = evaluate(still, lambda: gymnasium.wrappers.TimeLimit(task.make_environment(), 3), episodes=1, seed=0)
    assert (evaluation.success_rate, evaluation.length.tolist(), evaluation.mean_return) == (0.0, [3], -3.0)


def test_rewards_and_shards_of_a_goal_conditioned_task_are_refused_before_a_file_is_read(tmp_path):
    for settings in ({"sparse_rewards": True}, {"reward_timing": "post"}, {"dataset_path": tmp_path}):
        with pytest.raises(ValueError, match=f"`{next(iter(settings))}` must be .* goals"):
            load("pointmaze-medium-navigate-oraclerep-v0", **{"dataset_path": tmp_path / "none.npz", **settings})
    with pytest.raises(ValueError, match=r"`goal_discount` must be None for .*, which samples no goals; got 0\.9"):
        load("pointmaze-medium-navigate-singletask-v0", dataset_path=tmp_path / "none.npz", goal_discount=0.9)
    with pytest.raises(ValueError, match="`sparse_rewards` must be False for pointmaze-medium-v0 with goals"):
        make_with_goals("pointmaze-medium-v0", sparse_rewards=True)
    with pytest.raises(ValueError, match=r"`dataset_episodes` must be None .* single file"):
        load("pointmaze-medium-navigate-singletask-v0", dataset_path=tmp_path, dataset_episodes=3)


def observed(environment, seed, steps=3):
    """The observations of the first steps of an episode, as a run plays it, the number of its task and its goal."""
    player = EpisodePlayer(environment)
    player.begin(0, seed)
    found = [player.receive_start()]
    for _ in range(steps):
        player.step(np.zeros(environment.action_space.shape, np.float32))
        found.append(player.receive_step().observation)
    return np.stack(found), environment.unwrapped.cur_task_id


@pytest.mark.parametrize(
    "name",
    [
        "pointmaze-medium",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("antsoccer-arena", "humanoidmaze-medium", "cube-double", "scene", "puzzle-3x3")
        ),
    ],
)
def test_an_observation_is_the_state_and_the_goal_of_its_episode_which_the_seed_decides(name):
    environment, plain = make_with_goals(f"{name}-v0"), make(f"{name}-v0", use_oracle_rep=True)
    (width,) = plain.observation_space.shape
    tasks = set()
    for seed in range(4):
        found, task = observed(environment, seed)
        wanted, same = observed(plain, seed)
        again, _ = observed(environment, seed)
        np.testing.assert_array_equal(found, again)
        assert task == same
        np.testing.assert_allclose(found[:, :width], wanted, atol=1e-6)  # OGBench's random steps of an arm are unseeded
        assert np.all(found[:, width:] == found[0, width:])
        tasks.add(task)
    assert len(tasks) > 1
    observation, info = environment.reset(seed=0)
    np.testing.assert_array_equal(observation[width:], info["goal"])
    new = [make_with_goals(f"{name}-v0") for _ in range(2)]
    drawn = [(each.unwrapped.np_random.random(), *each.action_space.sample()) for each in new]
    assert drawn[0][0] != drawn[1][0] and drawn[0][1:] != drawn[1][1:]
    for each in (environment, plain, *new):
        each.close()


@pytest.mark.parametrize("timing", ["pre", "post"])
def test_the_reward_is_0_at_the_goal_where_the_episode_ends(timing):
    environment = make_with_goals("pointmaze-medium-v0", success_timing=timing)
    observation, info = environment.reset(seed=0)
    np.testing.assert_array_equal(observation[2:], info["goal"])
    still = np.zeros(2)
    _, reward, terminated, _, info = environment.step(still)
    assert (reward, terminated, info["success"]) == (-1.0, False, 0.0)
    environment.unwrapped.set_xy(observation[2:])
    observation, reward, terminated, _, info = environment.step(still)
    assert (reward, terminated, info["success"]) == (0.0, True, 1.0)
    assert environment.observation_space.shape == observation.shape == (4,)
    environment.close()


@pytest.mark.slow
def test_sparse_rewards_are_minus_one_until_all_parts_are_met_in_data_and_environment(files):
    name = "scene-play-singletask-task1-v0"
    dense, task = (load(name, dataset_path=files[name], sparse_rewards=wanted) for wanted in (False, True))
    paid, wanted = transitions(task.dataset)["rewards"], -(transitions(dense.dataset)["rewards"] < 0).astype(np.float32)
    np.testing.assert_array_equal(paid, wanted)
    assert paid.dtype == np.float32
    assert TaskReader(task.name, "pre", 1.0, sparse_rewards=True).reward_range == (-1.0, 0.0)
    environment = task.make_environment()
    environment.reset(seed=0)
    assert environment.step(np.zeros(5))[1] == -1.0
    assert (dense.describe()["sparse_rewards"], task.describe()["sparse_rewards"]) == (False, True)
    np.testing.assert_array_equal(sparse(np.array([-5.0, -1.0, 0.0])), [-1.0, -1.0, 0.0])
    environment.close()


@pytest.mark.slow
def test_ogbench_labels_data_alike_whatever_the_timing_of_its_environment(files):
    environment, *_ = (ogbench.make_env_and_datasets(MAZE, dataset_path=str(files[MAZE]), success_timing="post"),)
    published = load(MAZE, dataset_path=files[MAZE], success_timing="post", action_limit=1.0)
    np.testing.assert_array_equal(transitions(published.dataset)["rewards"], environment[1]["rewards"])
    assert published.make_environment().unwrapped._success_timing == "post"
    assert load(MAZE, dataset_path=files[MAZE]).make_environment().unwrapped._success_timing == "pre"


@pytest.mark.slow
def test_what_makes_an_environment_goes_to_another_process_without_the_data(files):
    sent = pickle.dumps(load(MAZE, dataset_path=files[MAZE], success_timing="post").make_environment)
    assert len(sent) < 500
    assert pickle.loads(sent)().unwrapped._success_timing == "post"


def test_actions_are_clipped_as_fql_does_it(files):
    data = load(MAZE, dataset_path=files[MAZE]).dataset
    free = load(MAZE, dataset_path=files[MAZE], action_limit=1.0).dataset
    assert jnp.abs(free.actions).max() == 1.0
    np.testing.assert_array_equal(data.actions, np.clip(np.asarray(free.actions), -1 + 1e-5, 1 - 1e-5))


def test_a_task_says_where_its_data_came_from(files, maze, tmp_path):
    task = load(MAZE, dataset_path=files[MAZE], success_timing="post")
    said = task.describe()
    assert json.loads(json.dumps(said)) == said
    assert said["provenance"] == task.provenance == "collected"
    assert said["path"] == str(files[MAZE])
    assert said["fingerprint"] == task.dataset.fingerprint()
    assert (said["success_timing"], said["reward_timing"], said["action_limit"]) == ("post", "pre", 1 - 1e-5)
    assert load(MAZE, dataset_path=maze[1]()).provenance == "file"


def test_an_official_file_is_taken_where_it_is(files, tmp_path):
    for suffix in (".npz", "-val.npz"):
        content = files[MAZE].with_name(files[MAZE].stem + suffix).read_bytes()
        (tmp_path / f"pointmaze-medium-navigate-v0{suffix}").write_bytes(content)
    task = load(MAZE, dataset_dir=tmp_path)
    assert task.provenance == "official"
    assert task.path == tmp_path / "pointmaze-medium-navigate-v0.npz"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        (
            MAZE,
            "flag `--collect_episodes=150`, or the whole dataset with `floqzoo collect pointmaze-medium-navigate-v0`, and pass its file",
        ),
        ("antmaze-large-navigate-singletask-v0", "`floqzoo collect` has no script for this dataset"),
    ],
)
@pytest.mark.parametrize("error", [urllib.error.URLError("no network"), TimeoutError("too slow")])
def test_without_a_network_the_error_says_what_to_do(monkeypatch, tmp_path, name, advice, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("urllib.request.urlopen", fail)
    with pytest.raises(ConnectionError, match=advice):
        load(name, dataset_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_frames_of_shards_are_refused_before_a_file_is_read(tmp_path):
    with pytest.raises(ValueError, match="`dataset_path` must be a file for a task with pixels"):
        load("visual-cube-single-play-singletask-v0", dataset_path=tmp_path, frame_stack=3)


@pytest.fixture
def folder(maze, tmp_path):
    """Two shards: the maze's file, and the same with its episodes in another order."""
    arrays, _ = maze
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in (0, 1):
        turned = {key: np.roll(array, number * len(array) // 2, axis=0) for key, array in arrays.items()}
        for suffix in (".npz", "-val.npz"):
            np.savez(folder / f"pointmaze-medium-navigate-v0-{number:03d}{suffix}", **turned)
    return folder


@pytest.mark.parametrize("timing", ["pre", "post"])
def test_each_file_of_a_folder_is_a_shard(folder, timing):
    task = load(MAZE, dataset_path=folder, reward_timing=timing)
    paths = sorted(path for path in folder.iterdir() if "val" not in path.name)
    assert task.dataset.paths == tuple(paths)
    assert task.validation.paths == tuple(path.with_name(f"{path.stem}-val.npz") for path in paths)
    assert (task.provenance, task.path, task.reward_range) == ("file", folder, (-1.0, 0.0))
    wholes = [load(MAZE, dataset_path=path, reward_timing=timing) for path in paths]
    for split in ("dataset", "validation"):
        sharded = pickle.loads(pickle.dumps(getattr(task, split).reader))  # as another process reads
        for whole, path in zip(wholes, getattr(task, split).paths, strict=True):
            for name, array in sharded(path).items():
                np.testing.assert_array_equal(array, getattr(getattr(whole, split), name))
    assert task.dataset.size == sum(whole.dataset.size for whole in wholes)
    assert (task.observation_dim, task.action_dim) == (wholes[0].observation_dim, wholes[0].action_dim)
    assert json.loads(json.dumps(task.describe()))["fingerprint"] == task.dataset.fingerprint()


def test_a_shard_without_its_validation_file_is_named(folder):
    (folder / "pointmaze-medium-navigate-v0-001-val.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*-001-val\.npz"):
        load(MAZE, dataset_path=folder)


def test_a_large_dataset_that_is_not_there_is_downloaded_by_a_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="`floqzoo download cube-double-play-100m-v0` downloads it"):
        load("cube-double-play-singletask-v0", dataset_path=tmp_path / "cube-double-play-100m-v0")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parts"), [*zip(TASKS, (1, 2, 5, 9), strict=True)])
def test_rewards_are_minus_the_unmet_parts_of_the_goal(files, name, parts):
    """A position; two cubes; a cube, two buttons, a drawer and a window; nine buttons."""
    assert TaskReader(task_name(name), "pre", 1.0).reward_range == (-parts, 0.0)
    low, high = load(name, dataset_path=files[name]).reward_range
    assert -parts <= low <= high <= 0.0


def test_a_missing_validation_file_is_named(maze):
    path = maze[1]()
    path.with_name("data-val.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*data-val\.npz"):
        load(MAZE, dataset_path=path)


def test_a_truncated_file_is_refused(maze):
    path = maze[1]()
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"data\.npz is truncated"):
        load(MAZE, dataset_path=path)


def test_data_of_another_environment_are_refused(files):
    with pytest.raises(ValueError, match="`observations` must have 28 columns for cube-single-singletask-v0; got 37"):
        load("cube-single-play-singletask-v0", dataset_path=files["cube-double-play-singletask-v0"])


def test_data_without_what_the_reward_needs_are_refused(files):
    with pytest.raises(ValueError, match="lacks button_states"):
        load("scene-play-singletask-v0", dataset_path=files["cube-double-play-singletask-v0"])


def test_actions_outside_the_action_space_are_refused_and_not_clipped(maze):
    arrays, write = maze
    with pytest.raises(ValueError, match=r"data\.npz: `actions` reach 2\.0; they must lie in \[-1, 1\]"):
        load(MAZE, dataset_path=write(actions=arrays["actions"] * 2))


def test_an_episode_without_an_end_is_refused(maze):
    arrays, write = maze
    with pytest.raises(ValueError, match=r"data\.npz: `terminals` does not end with True"):
        load(MAZE, dataset_path=write(**{key: array[:-1] for key, array in arrays.items()}))


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("success_timing", "late", "`success_timing` must be 'pre' or 'post'; got 'late'"),
        ("reward_timing", "", "`reward_timing` must be 'pre' or 'post'; got ''"),
        ("action_limit", 0.0, r"`action_limit` must be in \(0, 1\]; got 0.0"),
        ("action_limit", 1.5, r"`action_limit` must be .*; got 1.5"),
        ("action_limit", float("nan"), r"`action_limit` must be .*; got nan"),
    ],
)
def test_bad_arguments_are_refused(argument, value, message):
    with pytest.raises(ValueError, match=message):
        load(MAZE, **{argument: value})


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match=r"Similar names: .*pointmaze-medium-navigate-singletask-v0"):
        load("pointmaze-medium-navigate-v0")
