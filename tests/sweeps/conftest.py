"""A small sweep of toy runs, and how two runs are held to be the same."""

from pathlib import Path

import numpy as np
import pytest

from floqzoo.runs import read_metrics
from floqzoo.sweeps import read_sweep
from floqzoo.training import prepared_run


HERE = Path(__file__).parent
TASK = "pointmaze-medium-navigate-singletask-task1-v0"


@pytest.fixture(autouse=True)
def real_tasks_afterwards(monkeypatch):
    """The toy recipe, once it is read, replaces what loads tasks."""
    monkeypatch.setattr(prepared_run, "load_task", prepared_run.load_task)


@pytest.fixture
def toy_sweep(tmp_path):
    """Reads a sweep of three toy runs of two seeds; further settings are lines of its file."""
    pytest.importorskip("ogbench")
    pytest.importorskip("yaml")

    def toy_sweep(name="toy", fields="agent.batch_size: [4, 8, 16]", more="", recipe="toy_recipe.py"):
        file = tmp_path / f"{name}.yaml"
        file.write_text(
            f"recipes: [{HERE / recipe}]\ntasks: [{TASK}]\nseeds: 2\nfields: {{{fields}}}\nsave_dir: {tmp_path / 'exp'}\n{more}\n"
        )
        return read_sweep(file)

    return toy_sweep


@pytest.fixture
def assert_same_numbers():
    """Asserts that two runs have the same tables, times aside."""

    def assert_same_numbers(one, other):
        for table in ("train.csv", "eval.csv"):
            ours, theirs = read_metrics(one / table), read_metrics(other / table)
            assert list(ours) == list(theirs)
            for name in ours:
                if not name.startswith("time/"):
                    np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)

    return assert_same_numbers
