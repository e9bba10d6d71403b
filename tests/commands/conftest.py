"""The command line, run in this process as a program would, and one real run for all tests here."""

import sys
from pathlib import Path

import pytest

from floqzoo import command_line
from floqzoo.results.find_runs import find_runs
from floqzoo.tasks import collect
from floqzoo.training import run_recipe
from recipes.floq import RECIPE


@pytest.fixture(scope="module", autouse=True)
def _episodes_are_short(short_episodes):
    with short_episodes():
        yield


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs `floqzoo WORDS`; gives the exit status, what was printed, and what was said on standard error."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["floqzoo", *map(str, words)])
        status = 0
        try:
            command_line.main()
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory, short_episodes) -> Path:
    """The folder of a real run of floq, of two seeds and four updates, on a maze."""
    pytest.importorskip("ogbench")
    folder = tmp_path_factory.mktemp("trained")
    data = collect("pointmaze-medium-navigate-v0", episodes=1, directory=str(folder))
    settings = {
        "env_name": "pointmaze-medium-navigate-singletask-task1-v0",
        "preset": "quickstart",
        "seeds": 2,
        "dataset_path": data,
        "save_dir": folder / "exp",
        "offline_steps": 4,
        "log_interval": 2,
        "eval_interval": 4,
        "save_interval": 2,
        "eval_episodes": 1,
        "eval_workers": 0,
        "agent.batch_size": 8,
        "agent.block_width": 8,
    }
    before, sys.argv = sys.argv, ["floq.py", *(f"--{name}={value}" for name, value in settings.items())]
    try:
        with short_episodes():
            run_recipe(RECIPE)
    finally:
        sys.argv = before
    (directory,) = find_runs(folder / "exp")
    return directory
