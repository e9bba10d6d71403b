"""The recipe of successor measures on a real maze, from the command line to its figures."""

import csv
import json
import sys

import pytest

from floqzoo.studies import future_report
from floqzoo.studies.successor_recipe import run_successor_recipe
from recipes.td2_cfm import RECIPE


pytestmark = pytest.mark.slow


@pytest.fixture
def learn(trained, tmp_path, monkeypatch):
    """Learns a measure on the data of the trained run, in two updates; gives the folder of the run."""

    def learn(*words):
        data = json.loads((trained / "data.json").read_text())
        settings = {
            "preset": "maze",
            "dataset_path": data["path"],
            "save_dir": tmp_path,
            "offline_steps": 2,
            "log_interval": 1,
            "agent.hidden_dims": 8,
            "agent.batch_size": 4,
            "agent.count": 4,
        }
        monkeypatch.setattr(sys, "argv", ["td2_cfm.py", *(f"--{k}={v}" for k, v in settings.items()), *words])
        monkeypatch.setattr(future_report, "ROLLOUTS", 2)
        run_successor_recipe(RECIPE)
        return next(tmp_path.rglob("flags.json")).parent

    return learn


@pytest.mark.parametrize("measure_of", ["clone", "trained"])
def test_it_leaves_futures_and_values_beside_returns(measure_of, learn, trained, capsys):
    words = [f"--agent.policy_run={trained}"] if measure_of == "trained" else []
    folder = learn(f"--agent.measure_of={measure_of}", *words)
    assert (folder / "futures.png").stat().st_size > 0
    with (folder / "values.csv").open() as file:
        rewards = {row["reward"] for row in csv.DictReader(file)}
    assert rewards == {"the task's reward", "the first coordinate"}
    assert "initial states: values from the measure, and Monte Carlo returns" in capsys.readouterr().out


def test_a_run_that_is_not_there_is_a_users_mistake(learn, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        learn("--agent.measure_of=trained", f"--agent.policy_run={tmp_path / 'nowhere'}")
    assert end.value.code == 2
    assert f"there is no folder {tmp_path / 'nowhere'}" in capsys.readouterr().err
