"""Task names agree with OGBench's own reading of them."""

import subprocess
import sys

import pytest

from floqzoo.tasks import task_name, task_names


def test_every_name_means_what_it_means_to_ogbench(monkeypatch):
    ogbench = pytest.importorskip("ogbench")
    made = []
    monkeypatch.setattr("gymnasium.make", lambda name, **_: made.append(name))
    downloaded = []
    monkeypatch.setattr("ogbench.utils.download_datasets", lambda names, _: downloaded.extend(names) or 1 / 0)
    names = task_names()
    assert len(names) > 200
    for name in names:
        with pytest.raises(ZeroDivisionError):
            ogbench.make_env_and_datasets(name)
        taken = task_name(name)
        assert taken.full == name
        assert taken.environment == made[-1]
        assert taken.dataset == downloaded[-1]
        assert taken.task == (int(name[-4]) if "-task" in name else None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cube-single-play-v0", "cube-single-play-singletask-v0"),
        ("cube-singel-play-singletask-v0", "cube-single-play-singletask-v0"),
        ("cube-single-play-singletask-task9-v0", "cube-single-play-singletask-task5-v0"),
        ("puzzle-3x3-navigate-singletask-v0", "puzzle-3x3-noisy-singletask-v0"),
        ("cube-single-singletask-v0", "cube-single-play-singletask-v0"),
        ("visual-cube-single-play-singletask-v0", "pixels"),
        ("HalfCheetah", "A name is like"),
    ],
)
def test_unknown_names_are_refused_with_near_ones(name, message):
    pytest.importorskip("ogbench")
    with pytest.raises(ValueError, match=f"`env_name` is '{name}'.*{message}"):
        task_name(name)


def test_import_loads_no_simulator():
    code = (
        "import sys, floqzoo.tasks; print(sorted({'ogbench', 'mujoco', 'gymnasium', 'dm_control'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
