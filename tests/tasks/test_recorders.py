"""The scripted episodes: what OGBench's format and its published generation demand of them."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.sparse.csgraph import shortest_path
from scipy.stats import kstest

from floqzoo.tasks.episodes import first_accepted
from floqzoo.tasks.manipulation import _cubes_stay_in_view
from floqzoo.tasks.maze import free_cells, is_corridor
from floqzoo.tasks.scripts import find_script


pytestmark = pytest.mark.slow


pytest.importorskip("ogbench")

NAMES = [
    "cube-single-play-v0",
    "cube-double-noisy-v0",
    "scene-play-v0",
    "scene-noisy-v0",
    "puzzle-3x3-noisy-v0",
    "pointmaze-medium-navigate-v0",
    "pointmaze-teleport-stitch-v0",
]


def short(name, steps=120):
    return replace(find_script(name), steps=steps)


def seeds(index):
    return np.random.SeedSequence(0, spawn_key=(0, index))


@cache
def first_episode(name):
    return short(name).recorder().record(seeds(0))


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_does_not_depend_on_those_before_it(name):
    first, recorder = first_episode(name), short(name).recorder()
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    recorder.record(seeds(3))
    later = recorder.record(seeds(0))
    assert later.keys() == first.keys()
    for key in first:
        np.testing.assert_array_equal(later[key], first[key])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_has_the_arrays_of_the_format(name):
    script, episode = short(name), first_episode(name)
    dtypes = {
        "observations": np.float32,
        "actions": np.float32,
        "terminals": bool,
        "qpos": np.float32,
        "qvel": np.float32,
    }
    if script.environment.startswith(("scene", "puzzle")):
        dtypes["button_states"] = np.int64
    assert {key: array.dtype for key, array in episode.items()} == dtypes
    assert {len(array) for array in episode.values()} == {script.steps}
    assert np.flatnonzero(episode["terminals"]).tolist() == [script.steps - 1]
    assert np.abs(episode["actions"]).max() <= 1.0
    assert all(np.isfinite(array).all() for array in episode.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_row_holds_the_observation_and_the_state_of_one_moment(name):
    episode = first_episode(name)
    size = 2 if name.startswith("pointmaze") else 6  # a position, or the joints of the arm
    np.testing.assert_allclose(episode["observations"][:, :size], episode["qpos"][:, :size], atol=1e-6)
    assert (np.ptp(episode["qpos"][:, :size], axis=0) > 1e-3).all()


def test_random_actions_are_uniform():
    episode = replace(short("cube-single-noisy-v0", 300), random_actions=1.0).recorder().record(seeds(0))
    for column in episode["actions"].T:
        assert kstest(column, "uniform", args=(-1.0, 2.0)).pvalue > 1e-3


def test_a_puzzle_keeps_its_gripper_closed_and_a_cube_does_not():
    closed, free = (
        short(name, 300).recorder().record(seeds(0))["actions"][:, 4].mean()
        for name in ("puzzle-3x3-noisy-v0", "cube-single-noisy-v0")
    )
    assert closed > 0.5 > free


def test_the_scripts_reach_their_targets():
    episode = short("cube-single-play-v0", 400).recorder().record(seeds(0))
    cube = episode["qpos"][:, 14:17]
    assert cube[:, 2].max() > 0.08  # lifted from the table, where its centre is at 0.02
    buttons = short("puzzle-3x3-play-v0", 200).recorder().record(seeds(0))["button_states"]
    assert (buttons != buttons[0]).any()


def test_a_scene_is_refused_when_its_cube_is_out_of_view():
    def episode(y, z):
        qpos = np.zeros((5, 20), np.float32)
        qpos[3, 15:17] = y, z
        return {"qpos": qpos}

    assert _cubes_stay_in_view(episode(0.28, 0.0))
    assert not _cubes_stay_in_view(episode(0.29, 0.0))
    assert not _cubes_stay_in_view(episode(-0.31, 0.02))
    assert not _cubes_stay_in_view(episode(-0.31, 0.09))
    assert _cubes_stay_in_view(episode(-0.31, 0.07))  # in the drawer


def test_a_refused_attempt_is_followed_by_another_of_its_own():
    tried = []

    def attempt(seeds):
        tried.append(np.random.default_rng(seeds).random())
        return {"number": np.array(len(tried))}

    accepted = [first_accepted(attempt, lambda episode: int(episode["number"]) % 3 == 0, seeds(5)) for _ in range(2)]
    assert [int(episode["number"]) for episode in accepted] == [3, 6]
    assert tried[:3] == tried[3:]
    assert len(set(tried)) == 3


MAZE = np.array(
    [
        [1, 1, 1, 1, 1, 1],
        [1, 0, 0, 0, 1, 1],
        [1, 0, 1, 0, 0, 1],
        [1, 0, 1, 1, 0, 1],
        [1, 1, 1, 1, 1, 1],
    ]
)


def test_corridors_are_straight_and_walled():
    corridors = {(1, 2), (2, 1)}
    assert {cell for cell in free_cells(MAZE) if is_corridor(MAZE, cell)} == corridors
    assert set(free_cells(MAZE)) - corridors == {(1, 1), (1, 3), (2, 3), (2, 4), (3, 1), (3, 4)}


def test_stitched_goals_are_four_cells_away():
    recorder = short("pointmaze-large-stitch-v0").recorder()
    cells = free_cells(recorder._maze.maze_map)
    near = np.array([[abs(a - c) + abs(b - d) == 1 for c, d in cells] for a, b in cells])
    distances = shortest_path(near, unweighted=True)
    random = np.random.default_rng(0)
    for start, row in zip(cells, distances, strict=True):
        allowed = {cell for cell, distance in zip(cells, row, strict=True) if distance == 4} or {start}
        drawn = {recorder._goal_near(start, random) for _ in range(60)}
        assert drawn <= allowed
        assert len(drawn) > len(allowed) / 2


def test_a_navigator_goes_from_goal_to_goal_and_a_stitcher_to_one(monkeypatch):
    goals = {}
    for name in ("pointmaze-medium-navigate-v0", "pointmaze-medium-stitch-v0"):
        recorder = short(name, 1001).recorder()
        set_goal, reached = recorder._maze.set_goal, []
        monkeypatch.setattr(
            recorder._maze, "set_goal", lambda goal_xy, f=set_goal, r=reached: (r.append(goal_xy), f(goal_xy=goal_xy))
        )
        recorder.record(seeds(0))
        goals[name] = len({tuple(goal) for goal in reached})
    assert goals["pointmaze-medium-navigate-v0"] > 5
    assert goals["pointmaze-medium-stitch-v0"] == 1
