"""The page with the small comparison agrees with the sweep, the scores and the costs."""

import csv
from pathlib import Path

import pytest
from comparison_page import TRIALS, UPDATES, comparison_page

from floqzoo.results import read_comparison
from floqzoo.results.compare import MEAN, ComparedRow
from floqzoo.studies.report import csv_table


pytest.importorskip("yaml")
pytest.importorskip("ogbench")
FOLDER = Path(__file__).parents[2] / "docs" / "comparison"


@pytest.fixture(scope="module")
def trials():
    from floqzoo.sweeps import read_sweep

    return read_sweep("comparison").trials


def costs():
    with (FOLDER / "costs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_trials_have_the_conditions_that_the_page_states(trials):
    assert len(trials) == TRIALS
    for trial in trials:
        run = trial.config
        assert (run.offline_steps, run.seed_numbers, run.eval_episodes) == (UPDATES, (0, 1, 2, 3, 4), 20)
        assert (run.collect_episodes, run.success_timing, run.online_steps) == (150, "pre", 0)
        assert run.normalize_observations == (trial.recipe.name == "fb")
        if trial.recipe.name != "fb":
            assert (run.agent.batch_size, run.agent.lr, run.agent.actor_hidden_dims) == (192, 1e-3, (128, 128, 128))
            assert getattr(run.agent, "value_hidden_dims", (96, 96)) == (96, 96)
            assert getattr(run.agent, "discount", 0.97) == 0.97
    alphas = {
        trial.recipe.name: trial.config.agent.alpha for trial in trials if trial.recipe.name in ("fql", "floq", "codac")
    }
    assert set(alphas.values()) == {100}


def test_the_settings_of_a_method_are_the_same_on_both_tasks(trials):
    agents = {}
    for trial in trials:
        agents.setdefault(trial.recipe.name, []).append(trial.config.agent)
    assert all(len(pair) == 2 and pair[0] == pair[1] for pair in agents.values())


def test_every_trial_has_a_cost_and_every_score_belongs_to_a_trial(trials):
    expected = [(trial.config.env_name, trial.recipe.name) for trial in trials]
    assert [(row["task"], row["method"]) for row in costs()] == expected
    if (FOLDER / "scores.csv").exists():
        rows = read_comparison(FOLDER / "scores.csv")
        assert {(row.task, row.method) for row in rows} <= set(expected)
        assert {row.seeds for row in rows} == {5}


@pytest.mark.parametrize("name", ["bc", "iql", "floq", "qc"])
def test_the_costs_are_those_of_the_code(trials, name):
    from benchmarks.comparison import cost_row

    trial = next(trial for trial in trials if trial.recipe.name == name)
    (row,) = [row for row in costs() if (row["task"], row["method"]) == (trial.config.env_name, name)]
    assert cost_row(trial).flops == int(row["flops"])


def test_a_trial_without_scores_has_a_dash(tmp_path):
    (tmp_path / "costs.csv").write_text((FOLDER / "costs.csv").read_text())
    assert comparison_page(tmp_path).count("| – | – |") == TRIALS // 2
    row = ComparedRow(costs()[0]["task"], "fql", "", MEAN, 0.123, 0.05, 0.21, 5)
    (tmp_path / "scores.csv").write_text(csv_table([row]))
    page = comparison_page(tmp_path)
    assert page.count("| – | – |") == TRIALS // 2 - 1 and f"1 of the {TRIALS} trials" in page
    assert "| [fql](../recipes/fql.md) | 12 [5, 21] | – |" in page
