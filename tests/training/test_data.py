import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from toy_run import toy_config, toy_task

from floqzoo.runs import StoredRun
from floqzoo.runs.run_data import task_of
from floqzoo.runs.run_directory import record_data, record_flags, record_machine
from floqzoo.tasks import OGBenchTask
from floqzoo.training import load_task, prepared_run as data


pytest.importorskip("ogbench")


@pytest.fixture
def asked(monkeypatch):
    """What `load` and `collect` are asked for, instead of doing it."""
    asked = {}

    def load(env_name, **settings):
        asked["load"] = {"env_name": env_name, **settings}
        return OGBenchTask.__new__(OGBenchTask)

    def collect(name, **settings):
        asked["collect"] = {"name": name, **settings}
        settings["progress"](1, 2, 1001)
        return Path("collected.npz")

    monkeypatch.setattr(data, "load", load)
    monkeypatch.setattr(data, "collect", collect)
    return asked


def config(tmp_path, **changes):
    return toy_config(env_name="cube-single-play-singletask-task2-v0", dataset_dir=str(tmp_path), **changes)


def test_data_are_collected_where_there_is_no_official_file(asked, tmp_path):
    wanted = {"success_timing": "post", "sparse_rewards": True}
    load_task(config(tmp_path, collect_episodes=5, collect_workers=2, **wanted))
    assert asked["collect"]["name"] == "cube-single-play-v0"
    assert (asked["collect"]["episodes"], asked["collect"]["workers"]) == (5, 2)
    assert asked["load"]["dataset_path"] == Path("collected.npz")
    assert wanted.items() <= asked["load"].items()


def test_rewards_of_ones_own_task_are_not_made_sparse():
    with pytest.raises(ValueError, match=r"`sparse_rewards` must be False for your own task.*; got True"):
        load_task(toy_config(env_name="task.py:task", sparse_rewards=True))


@pytest.mark.parametrize("changes", [{}, {"dataset_path": "mine.npz", "collect_episodes": 5}])
def test_data_are_not_collected_unasked(asked, tmp_path, changes):
    load_task(config(tmp_path, **changes))
    assert "collect" not in asked
    assert asked["load"]["dataset_path"] == changes.get("dataset_path")
    assert asked["load"]["dataset_dir"] == str(tmp_path)


def test_the_official_file_goes_before_a_collection(asked, tmp_path):
    (tmp_path / "cube-single-play-v0.npz").touch()
    load_task(config(tmp_path, collect_episodes=5))
    assert "collect" not in asked
    assert asked["load"]["dataset_path"] is None


def test_a_run_may_have_the_first_episodes_alone(tmp_path, monkeypatch):
    steps = toy_task().dataset  # ten episodes of 19 transitions
    monkeypatch.setattr(sys.modules["floqzoo.tasks.load"], "_files", lambda path, reader: (steps, steps))
    (tmp_path / "data.npz").touch()
    small = partial(config, tmp_path, dataset_path=str(tmp_path / "data.npz"))
    whole, task = (load_task(small(dataset_episodes=count)) for count in (10, 3))
    few = task.dataset
    assert whole.dataset.fingerprint() == steps.fingerprint() != few.fingerprint()
    np.testing.assert_array_equal(few.starts, steps.starts[: 3 * 19])
    some = replace(steps, next_starts=steps.starts[::2]).first_episodes(3)
    np.testing.assert_array_equal(some.next_starts, steps.starts[: 3 * 19 : 2])
    with pytest.raises(ValueError, match=r"`dataset_episodes` must be in \[1, 10\], the number of episodes; got 11"):
        load_task(small(dataset_episodes=11))
    with pytest.raises(ValueError, match="`dataset_episodes` must be at least 1"):
        small(dataset_episodes=0)
    record_flags(tmp_path, "toy", small(dataset_episodes=3))
    record_data(tmp_path, task)
    record_machine(tmp_path)
    assert task_of(StoredRun(tmp_path)).dataset.fingerprint() == few.fingerprint()


def test_the_episodes_of_a_task_of_ones_own_are_not_counted(monkeypatch):
    monkeypatch.setattr(data, "own_task", lambda name: toy_task())
    with pytest.raises(ValueError, match=r"`dataset_episodes` must be None for mine\.py:line, since"):
        load_task(toy_config(env_name="mine.py:line", dataset_episodes=3))
