from pathlib import Path

import pytest
from toy_run import toy_config

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
