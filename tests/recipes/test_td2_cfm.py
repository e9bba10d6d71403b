"""The recipe builds what its settings say, and its programs run from end to end."""

import csv
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.flow import DDIM, NoisePrediction
from floqzoo.networks import Normaliser, UNetField
from floqzoo.studies.future_model import FutureModel
from floqzoo.studies.future_report import NUM_FUTURES, FuturePoint, draw_futures, future_report
from floqzoo.studies.report import read_table
from floqzoo.studies.rollouts import Rollout
from floqzoo.studies.successor_recipe import run_successor_recipe
from floqzoo.successor import (
    CoupledTDTarget,
    DataNextAction,
    MonteCarloTarget,
    PolicyNextAction,
    TD2Target,
    TDTarget,
)
from recipes.td2_cfm import RECIPE, TD2Config, default, maze, quickstart, td2_cfm


SMALL = TD2Config(widths=(8, 4), embedding=4, hidden_dims=(8,), batch_size=4, count=8)


def build(config=SMALL, **parts):
    return td2_cfm(
        observation_dim=2, action_dim=2, reward_range=(-1.0, 0.0), config=config, key=jax.random.key(0), **parts
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "rule", "is_diffusion"),
    [
        ("mc-cfm", MonteCarloTarget, False),
        ("td-cfm", TDTarget, False),
        ("td-cfm-c", CoupledTDTarget, False),
        ("td2-cfm", TD2Target, False),
        ("td-dd", TDTarget, True),
        ("td2-dd", TD2Target, True),
    ],
)
def test_a_method_is_a_target_and_a_model(method, rule, is_diffusion):
    measure = build(replace(SMALL, method=method)).critic.measure
    assert isinstance(measure.target_rule, rule)
    assert isinstance(measure.flow.field, NoisePrediction) == is_diffusion
    assert measure.flow.solver == DDIM(20) if is_diffusion else fz.Midpoint(10)


@pytest.mark.slow
def test_the_default_is_the_published_setting():
    config = default(None).agent
    assert (config.batch_size, config.weight_decay, config.tau, config.discount) == (1024, 1e-3, 1e-3, 0.99)
    assert (config.flow_steps, config.diffusion_steps, config.count) == (10, 20, 128)
    assert default(None).offline_steps == 3_000_000
    assert isinstance(build(replace(config, batch_size=4)).critic.measure.flow.field, UNetField)


def test_settings_pick_the_parts():
    measure = build(replace(SMALL, measure_of="clone", curved=True, network="mlp")).critic.measure
    assert isinstance(measure.next_action, PolicyNextAction)
    assert isinstance(measure.flow.path, fz.TrigonometricPath)
    assert isinstance(measure.flow.field, fz.ConditionalField)
    assert isinstance(build().critic.measure.next_action, DataNextAction)
    normaliser = Normaliser(np.ones(2), np.full(2, 2.0))
    assert build(normaliser=normaliser).critic.measure.normaliser is normaliser


@pytest.mark.parametrize("preset", [default, maze, quickstart])
def test_presets_take_an_environment(preset):
    assert preset("cube-single-play-singletask-v0").env_name == "cube-single-play-singletask-v0"
    assert preset.__doc__


@pytest.mark.slow
def test_the_quickstart_compares_every_method_with_the_truth(tmp_path, monkeypatch, capsys):
    pytest.importorskip("ot")
    words = "--preset quickstart --offline_steps 2 --log_interval 1 --agent.hidden_dims 4 --agent.batch_size 2"
    monkeypatch.setattr(sys, "argv", ["td2_cfm.py", *words.split(), "--save_dir", str(tmp_path)])
    run_successor_recipe(RECIPE)
    with next(tmp_path.rglob("comparison.csv")).open() as file:
        methods = [row["method"] for row in csv.DictReader(file)]
    assert methods == ["td2-cfm", "mc-cfm", "td-cfm", "td-cfm-c", "td-dd", "td2-dd", "two sets of true samples"]
    assert "NLL per dimension" in capsys.readouterr().out
    assert next(tmp_path.rglob("flags.json"))


def test_true_futures_of_a_clone_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["td2_cfm.py", "--agent.method", "mc-cfm", "--agent.measure_of", "clone"])
    with pytest.raises(SystemExit) as end:
        run_successor_recipe(RECIPE)
    assert end.value.code == 2
    assert "`agent.measure_of`" in capsys.readouterr().err


@dataclass(frozen=True)
class Still:
    """A rollout that stays where it is."""

    at: float

    def rollout(self):
        return Rollout(np.zeros(2, np.float32), np.zeros(2, np.float32), np.full((50, 2), self.at), np.full(50, -1.0))


def test_values_stand_beside_the_returns_of_their_episodes(tmp_path: Path):
    rollouts = [Still(0.5).rollout(), Still(1.0).rollout()]
    visited = np.random.default_rng(0).normal(size=(30, 2))
    report = future_report(FutureModel.of(build(), visited), rollouts, jax.random.key(0), count=8)
    assert [(row.reward, row.episode) for row in report.values] == [
        (name, episode) for name in ("the task's reward", "the first coordinate") for episode in (0, 1)
    ]
    total = (1 - 0.99**50) / 0.01
    returns = [row.episode_return for row in report.values]
    np.testing.assert_allclose(returns, [-total, -total, 0.5 * total, total], rtol=1e-5)
    assert Counter((point.panel, point.kind) for point in report.points) == {
        (0, "states of the data"): 30,
        **{(panel, "initial state"): 1 for panel in (1, 2)},
        **{
            (panel, f"futures {kind}"): NUM_FUTURES
            for panel in (1, 2)
            for kind in ("in one episode", "sampled from the measure")
        },
    }
    assert {point.x for point in report.points if point.kind == "futures in one episode"} == {0.5, 1.0}
    for row, far in zip(report.distances, (0.5, 1.0), strict=True):
        assert row.episode_median == row.episode_tenth == pytest.approx(far * 2**0.5)
        assert 0 < row.sampled_median < row.sampled_tenth
    assert {file.name for file in report.write(tmp_path)} == {
        "values.csv",
        "distances.csv",
        "futures.csv",
        "futures.png",
    }
    assert read_table(FuturePoint, tmp_path / "futures.csv") == report.points
    assert draw_futures(report.points, tmp_path / "futures.png").stat().st_size > 0
