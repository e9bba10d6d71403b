"""Methods learn to reach the goals of a task with oracle representations."""

import json

import pytest

from floqzoo.results import evaluate_run
from floqzoo.results.find_runs import find_runs
from floqzoo.runs.metric_log import read_metrics
from floqzoo.tasks import collect


pytestmark = pytest.mark.slow
NAME = "pointmaze-medium-navigate-oraclerep-v0"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    pytest.importorskip("ogbench")
    return collect("pointmaze-medium-navigate-v0", episodes=2, directory=str(tmp_path_factory.mktemp("data")))


@pytest.fixture
def train(run, data, tmp_path):
    """Trains for a few updates with the flags given; returns the status and what was said on standard error."""

    def train(recipe, *words):
        settings = {
            "env_name": NAME,
            "preset": "quickstart",
            "dataset_path": data,
            "save_dir": tmp_path / "exp",
            "offline_steps": 4,
            "log_interval": 2,
            "eval_interval": 4,
            "save_interval": 4,
            "eval_episodes": 2,
            "eval_workers": 0,
            "normalize_observations": True,
        }
        status, _, said = run("train", recipe, *(f"--{name}={value}" for name, value in settings.items()), *words)
        return status, said

    return train


@pytest.mark.parametrize("recipe", ["fql", "gaussian_bc"])
def test_a_run_on_goals_trains_and_is_evaluated(recipe, train, tmp_path):
    cloned = recipe == "gaussian_bc"  # which has no discount
    status, said = train(recipe, "--dataset_episodes=1", *() if cloned else ("--agent.discount=0.9",))
    assert status == 0, said
    (directory,) = find_runs(tmp_path / "exp")
    described = json.loads((directory / "data.json").read_text())
    assert described["goal_discount"] == (0.99 if cloned else 0.9)
    assert (described["env_name"], described["observation_dim"], described["reward_range"]) == (NAME, 4, [-1.0, 0.0])
    columns = read_metrics(directory / "eval.csv")
    (result,) = evaluate_run(directory)
    assert result.logged == result.evaluation.success_rate
    assert result.evaluation.mean_return == columns["evaluation/episode.return"][-1]


def test_a_run_on_goals_is_inspected(run, train, tmp_path):
    status, said = train("floq")
    assert status == 0, said
    (directory,) = find_runs(tmp_path / "exp")
    status, _, said = run("inspect", directory, f"--out={tmp_path}", "--transitions=8", "--episodes=1")
    assert status == 0, said
    assert (tmp_path / "value_paths.png").exists()


@pytest.mark.parametrize(
    ("recipe", "flag", "message"),
    [
        ("fql", "--agent.n_step=2", "`reader` must be NStep(1) for a GoalDataset"),
        ("fql", "--agent.chunk_length=2", "`reader` must be NStep(1) for a GoalDataset"),
        ("fql", "--online_steps=2", "`online_steps` must be 0 with a GoalDataset"),
        ("fql", "--sparse_rewards", "`sparse_rewards` must be False for pointmaze-medium-navigate-oraclerep-v0"),
        ("fb", "--seed=0", "`env_name` must be a single task for fb"),
        ("rebrac", "--seed=0", "`reader` must be NStep(1) for a GoalDataset"),
        ("td2_cfm", "--seed=0", "`reader` must be NStep(1) for a GoalDataset"),
        ("infom", "--agent.pretraining_steps=2", "`reader` must be NStep(1) for a GoalDataset"),
    ],
)
def test_what_goals_do_not_support_is_refused_without_a_run(recipe, flag, message, train, tmp_path):
    status, said = train(recipe, flag)
    assert status == 2 and message in " ".join(said.split())
    assert not (tmp_path / "exp").exists()
