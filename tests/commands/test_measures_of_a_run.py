"""The recipe of successor measures on a real maze, from the command line to its figures."""

import csv
import json
import sys

import numpy as np
import pytest

from floqzoo.studies import future_report, measure_evaluation
from floqzoo.studies.horizon_sweep import TRUTH, SweepRow
from floqzoo.studies.measure_evaluation import EvaluationConfig, main
from floqzoo.studies.report import read_table
from floqzoo.studies.successor_recipe import run_successor_recipe
from floqzoo.studies.successor_training import TrainingSettings
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


def test_it_leaves_futures_and_values_beside_returns(learn, trained, capsys):
    folder = learn("--agent.measure_of=trained", f"--agent.policy_run={trained}")
    assert (folder / "futures.png").stat().st_size > 0
    with (folder / "values.csv").open() as file:
        rewards = {row["reward"] for row in csv.DictReader(file)}
    assert rewards == {"the task's reward", "the first coordinate"}
    assert "initial states: values from the measure, and Monte Carlo returns" in capsys.readouterr().out


def test_the_methods_are_compared_on_the_measure_of_the_runs_policy(trained, tmp_path, monkeypatch, capsys):
    """A second call trains nothing, other settings are refused, and the results can be read elsewhere."""
    pytest.importorskip("ot")
    settings = {
        "methods": ("td2-cfm",),
        "horizons": (2, 4),
        "seeds": 2,
        "states": 2,
        "steps": 20,
        "samples": 8,
        "compared": 4,
        "scored": 2,
        "density_steps": 2,
        "training": TrainingSettings(hidden=(8,), updates=2, batch_size=4),
    }
    main(EvaluationConfig(policy_run=trained, directory=tmp_path, **settings))
    rows = read_table(SweepRow, tmp_path / "models.csv")
    assert {(row.method, row.horizon, row.seed) for row in rows} == {
        *((TRUTH, horizon, -1) for horizon in (2, 4)),
        *(("td2-cfm", horizon, seed) for horizon in (2, 4) for seed in (0, 1)),
    }
    assert all(np.isfinite([row.emd, row.value_mse]).all() for row in rows)
    assert all(np.isfinite(row.nll) == (row.method != TRUTH) for row in rows)
    table = (tmp_path / "models.csv").read_text()
    monkeypatch.setattr(measure_evaluation, "train_measures", None)
    main(EvaluationConfig(policy_run=trained, directory=tmp_path, **settings))
    assert (tmp_path / "models.csv").read_text() == table
    with pytest.raises(ValueError, match=r"`states` is 2, here it is 1"):
        main(EvaluationConfig(policy_run=trained, directory=tmp_path, **settings | {"states": 1}))
    main(EvaluationConfig(read=tmp_path, directory=tmp_path / "again"))
    assert {path.name for path in (tmp_path / "again").iterdir()} == {"report.md", "errors.png", "futures.png"}
    assert (tmp_path / "again" / "report.md").read_text() == (tmp_path / "report.md").read_text()
    assert "TD²-CFM" in capsys.readouterr().out


def test_a_run_that_is_not_there_is_a_users_mistake(learn, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        learn("--agent.measure_of=trained", f"--agent.policy_run={tmp_path / 'nowhere'}")
    assert end.value.code == 2
    assert f"there is no folder {tmp_path / 'nowhere'}" in capsys.readouterr().err
