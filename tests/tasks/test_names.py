"""Task names agree with OGBench's own reading of them."""

import subprocess
import sys

import numpy as np
import pytest

from floqzoo.tasks import task_name, task_names
from floqzoo.tasks.simulator import make


def test_every_name_means_what_it_means_to_ogbench(monkeypatch):
    ogbench = pytest.importorskip("ogbench")
    made = []
    monkeypatch.setattr("gymnasium.make", lambda name, **_: made.append(name))
    downloaded = []
    monkeypatch.setattr("ogbench.utils.download_datasets", lambda names, _: downloaded.extend(names) or 1 / 0)
    names = task_names()
    assert len(names) > 200 and sum("oraclerep" in name for name in names) > 40
    for name in names:
        with pytest.raises(ZeroDivisionError):
            ogbench.make_env_and_datasets(name)
        taken = task_name(name)
        assert taken.full == name
        assert taken.environment == made[-1]
        assert taken.dataset == downloaded[-1]
        assert taken.task == (int(name[-4]) if "-task" in name else None)
        assert taken.goal_conditioned == ("oraclerep" in name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cube-single-play-v0", "cube-single-play-singletask-v0"),
        ("cube-singel-play-singletask-v0", "cube-single-play-singletask-v0"),
        ("cube-single-play-singletask-task9-v0", "cube-single-play-singletask-task5-v0"),
        ("puzzle-3x3-navigate-singletask-v0", "puzzle-3x3-noisy-singletask-v0"),
        ("cube-single-singletask-v0", "cube-single-play-singletask-v0"),
        ("visual-cube-single-navigate-singletask-v0", "visual-cube-single-noisy-singletask-v0"),
        ("HalfCheetah", "A valid name is"),
        ("cube-single-play-v0", "which is goal-conditioned.*cube-single-play-oraclerep-v0"),
        ("visual-scene-v0", "which is goal-conditioned"),
        ("visual-puzzle-4x5-play-oraclerep-v0", "which is goal-conditioned.*visual-puzzle-4x5-play-singletask-v0"),
        ("puzzle-4x5-navigate-oraclerep-v0", "which is goal-conditioned.*puzzle-4x5-play-oraclerep-v0"),
        ("powderworld-easy-play-v0", "which is goal-conditioned"),
    ],
)
def test_unknown_names_are_refused_with_near_ones(name, message):
    pytest.importorskip("ogbench")
    with pytest.raises(
        ValueError, match=f"`env_name` must be the name of a single task of OGBench.* '{name}'.*{message}"
    ):
        task_name(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cube-single-play", "scene-play", "puzzle-3x3-play"])
def test_the_plane_of_an_arm_is_where_its_gripper_is(name):
    pytest.importorskip("ogbench")
    task = task_name(f"{name}-singletask-task1-v0")
    environment = make(task.environment)
    observation, info = environment.reset(seed=0)
    gripper = (info["proprio/effector_pos"][:2] - np.array([0.425, 0.0])) * 10
    np.testing.assert_allclose(observation[list(task.plane)], gripper, atol=1e-9)
    environment.close()


def test_the_plane_of_a_maze_is_where_the_body_is():
    pytest.importorskip("ogbench")
    task = task_name("pointmaze-medium-navigate-singletask-task1-v0")
    environment = make(task.environment)
    observation, _ = environment.reset(seed=0)
    np.testing.assert_allclose(observation[list(task.plane)], environment.unwrapped.get_xy(), atol=1e-6)
    environment.close()


@pytest.mark.slow
def test_import_loads_no_simulator():
    code = (
        "import sys, floqzoo.tasks; print(sorted({'ogbench', 'mujoco', 'gymnasium', 'dm_control'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
