"""Every command on a run of a task of one's own; none of them executes code that it was not given."""

import json
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.results import list_runs
from floqzoo.results.find_runs import find_runs
from floqzoo.studies.report import read_rows
from floqzoo.studies.successor_recipe import run_successor_recipe
from floqzoo.tasks.files import read_json
from floqzoo.training import resume, run_recipe
from recipes.fql import RECIPE
from recipes.infom import RECIPE as INFOM
from recipes.td2_cfm import RECIPE as TD2


pytestmark = pytest.mark.slow

FILE = Path(__file__).parents[1] / "tasks" / "own.py"
SMALL = {
    "preset": "quickstart",
    "offline_steps": 4,
    "log_interval": 2,
    "eval_interval": 2,
    "save_interval": 2,
    "eval_episodes": 4,
    "eval_workers": 0,
    "agent.batch_size": 8,
    "agent.actor_hidden_dims": "8",
    "agent.value_hidden_dims": "8",
}


def trained(folder, monkeypatch, task, **changes) -> Path:
    return started(run_recipe, RECIPE, folder, monkeypatch, **{**SMALL, "task": f"{FILE}:{task}", **changes})


def started(program, recipe, folder, monkeypatch, **words) -> Path:
    words = {"save_dir": folder, **words}
    monkeypatch.setattr(
        "sys.argv", [recipe.name, *(word for name, value in words.items() for word in (f"--{name}", str(value)))]
    )
    program(recipe)
    return sorted(find_runs(folder))[-1]


@pytest.mark.parametrize(("task", "metric"), [("push", "episode.return"), ("passing", "success")])
def test_a_run_is_trained_listed_drawn_compared_and_evaluated(run, tmp_path, monkeypatch, capsys, task, metric):
    directory = trained(tmp_path, monkeypatch, task)
    printed = capsys.readouterr()
    assert "160 transitions in 20 episodes: 0 terminations, 20 truncated episodes" in printed.err
    assert ("episode return" if task == "push" else "success rate") in printed.out
    columns = fz.StoredRun(directory).eval
    assert ("evaluation/success" in columns) == (task == "passing")
    if task == "passing":
        np.testing.assert_allclose(
            columns["evaluation/episode.return_normalised"], 1 + columns["evaluation/episode.return"] / 20
        )
    (summary,) = list_runs(tmp_path)
    assert (summary.task, summary.state) == (f"own.py:{task}", "finished")
    assert (summary.metric, summary.score) == (f"evaluation/{metric}", columns[f"evaluation/{metric}"][-1])
    assert run("plot", directory, "--out", tmp_path / "curves.png")[0] == 0
    status, out, _ = run("compare", directory)
    assert (status, f"evaluation/{metric}" in out) == (0, True)
    status, _, said = run("evaluate", directory, "--episodes=4")
    assert (status, "trained on a task of your own; name the task again" in said) == (2, True)
    status, out, _ = run("evaluate", directory, "--episodes=4", f"--task={FILE}:{task}")
    shown = re.findall(r"(-?[\d.]+) ±", out)
    assert status == 0
    assert shown[0] == shown[1]  # What is played again is what was logged.


@pytest.mark.filterwarnings("ignore:the resumed run differs:UserWarning")
def test_a_run_is_resumed_with_its_task(run, tmp_path, monkeypatch):
    directory = trained(tmp_path, monkeypatch, "push")
    flags = directory / "flags.json"
    flags.write_text(json.dumps(json.loads(flags.read_text()) | {"offline_steps": 6}))
    status, _, said = run("resume", directory, "--allow-changes")
    assert (status, "name the task again" in said) == (2, True)
    assert run("resume", directory, "--allow-changes", f"--task={FILE}:push")[0] == 0
    assert fz.StoredRun(directory).checkpoint_steps[-1] == 6


def test_an_agent_is_loaded_in_one_line(tmp_path, monkeypatch):
    directory = trained(tmp_path, monkeypatch, "push", keep_checkpoints=1)
    run = fz.StoredRun(directory)
    scores = dict(zip(run.eval["step"].astype(int), run.eval["evaluation/episode.return"], strict=True))
    best = max(run.checkpoint_steps, key=lambda step: (scores[step], step))
    leaves = {
        which: jax.tree.leaves(fz.load_agent(directory, checkpoint=which).parts)[0]
        for which in ("best", "latest", best, run.checkpoint_steps[-1])
    }
    np.testing.assert_array_equal(leaves["best"], leaves[best])
    np.testing.assert_array_equal(leaves["latest"], leaves[run.checkpoint_steps[-1]])
    action = fz.load_agent(directory, seed=0).act(jnp.zeros(2), jax.random.key(0))
    assert action.shape == (1,)
    with pytest.raises(ValueError, match="`checkpoint` must be 'best', 'latest' or a number of steps; got 'first'"):
        fz.load_agent(directory, checkpoint="first")


def require_export():
    for module in ("onnxruntime", "safetensors"):
        pytest.importorskip(module)


CHUNKS = {"agent.chunk_length": 3, "agent.execution_horizon": 2}


@pytest.mark.parametrize(("task", "changes"), [("push", CHUNKS), ("passing", {})], ids=["chunks", "single actions"])
def test_an_exported_policy_acts_in_the_units_of_the_task(run, tmp_path, monkeypatch, task, changes):
    require_export()
    directory, out = trained(tmp_path, monkeypatch, task, **changes), tmp_path / "policy"
    status, _, said = run("export", directory, "--out", out)
    assert (status, "name the task again" in said) == (2, True)
    words = ("--out", out, f"--task={FILE}:{task}", "--episodes=4", "--critic", "--hub-layout")
    assert run("export", directory, *words)[0] == 0
    spec = read_json(out / "spec.json")
    with np.load(out / "example.npz") as file:
        example = dict(file)
    stored = fz.StoredRun(directory)
    metric = "evaluation/episode.return" if task == "push" else "evaluation/success"
    scores = dict(zip(stored.eval["step"].astype(int), stored.eval[metric], strict=True))
    best = max(stored.checkpoint_steps, key=lambda step: (scores[step], step))
    assert (spec["step"], spec["chosen_by"], spec["metrics"][metric]) == (best, metric, scores[best])
    assert (spec["chunk_length"], spec["execution_horizon"]) == ((3, 2) if changes else (None, None))
    assert (spec["outputs"][0]["range"], spec["outputs"][0]["units"]) == ([[0.0], [3.0]], "the environment's")
    assert example["action"].shape == ((16, 3, 1) if changes else (16, 1))
    agent, (observation, noise) = (
        fz.load_agent(out),
        (jnp.asarray(example[name][0]) for name in ("observation", "noise")),
    )
    drawn = np.asarray(agent.policy.act_from_noise(observation, agent.critic, noise))
    np.testing.assert_allclose(example["action"][0].reshape(-1), 1.5 + 1.5 * drawn, atol=1e-5)
    np.testing.assert_allclose(example["value"][0], agent.critic.score(observation, jnp.asarray(drawn)), rtol=1e-4)
    # Another 2 of the 3 actions, or another order, would lead elsewhere.
    played = spec["evaluation"]
    np.testing.assert_allclose(played["onnx"], played["jax"], rtol=1e-5)
    np.testing.assert_allclose(played["jax"], scores[best], rtol=1e-5)
    assert str(tmp_path) not in (out / "spec.json").read_text()
    for given in ({"checkpoint": "latest"}, {"seed": 0}):
        with pytest.raises(ValueError, match="must not be given"):
            fz.load_agent(out, **given)


def test_a_policy_of_data_alone_is_exported_without_playing(run, tmp_path, monkeypatch, capsys):
    require_export()
    directory, out = trained(tmp_path, monkeypatch, "only_data", eval_episodes=0), tmp_path / "policy"
    capsys.readouterr()
    task = f"--task={FILE}:only_data"
    status, _, said = run("export", directory, "--out", out, task)
    assert (status, said.count("\n")) == (2, 1)
    assert "`episodes` must be 0" in said
    assert run("export", directory, "--out", out, task, "--episodes=0")[0] == 0
    spec = read_json(out / "spec.json")
    assert (spec["evaluation"], spec["chosen_by"], spec["step"]) == (None, "latest", 4)
    assert (spec["outputs"][0]["range"], spec["outputs"][0]["units"]) == ([[-1.0], [1.0]], "scaled to [-1, 1]")


def test_a_task_without_environment_is_trained_and_not_played(tmp_path, monkeypatch, capsys):
    directory = trained(tmp_path, monkeypatch, "only_data", eval_episodes=0)
    assert not (directory / "eval.csv").exists()
    logged = fz.StoredRun(directory).train
    assert np.isfinite(logged["training/critic/critic_loss"]).all()
    assert not any(name.startswith("diagnostics/") for name in logged)  # FQL's critic has none
    with pytest.raises(SystemExit):
        trained(tmp_path / "other", monkeypatch, "only_data")
    told = capsys.readouterr().err
    assert re.search(r"error: `eval_episodes` must be 0 on .*only_data, which has no environment; got 4", told), told
    assert not (tmp_path / "other").exists()


def test_the_environment_of_a_file_is_made_by_another_process(tmp_path, monkeypatch):
    directory = trained(tmp_path, monkeypatch, "passing", eval_workers=1)
    played = fz.StoredRun(directory).eval["evaluation/episode.return"]
    directory = trained(tmp_path / "here", monkeypatch, "passing")
    np.testing.assert_array_equal(played, fz.StoredRun(directory).eval["evaluation/episode.return"])


def test_code_that_a_run_names_is_not_executed(run, tmp_path, monkeypatch):
    """The author of the run may have named any file; only what the user names is executed."""
    directory = trained(tmp_path, monkeypatch, "push")
    mark, evil = tmp_path / "executed", tmp_path / "evil.py"
    evil.write_text(f"open({str(mark)!r}, 'w').close()\n")
    stranger = shutil.copytree(directory, tmp_path / "stranger")
    flags = stranger / "flags.json"
    flags.write_text(json.dumps(json.loads(flags.read_text()) | {"env_name": f"{evil}:task"}))
    for words in (
        ("evaluate", stranger),
        ("resume", stranger),
        ("list", tmp_path),
        ("plot", stranger, "--out", tmp_path / "a.png"),
        ("compare", stranger),
        ("inspect", stranger, "--out", tmp_path / "inside"),
        ("export", stranger, "--out", tmp_path / "policy"),
    ):
        run(*words)
    fz.load_agent(stranger)
    with pytest.raises(ValueError, match="name the task again"):
        resume(stranger)
    assert not mark.exists()


def test_without_an_environment_a_measure_of_a_policy_is_learnt_and_not_compared(tmp_path, monkeypatch, capsys):
    words = {
        "task": f"{FILE}:only_data",
        "preset": "maze",
        "offline_steps": 2,
        "log_interval": 1,
        "agent.measure_of": "clone",
        "agent.batch_size": 8,
        "agent.hidden_dims": 8,
    }
    folder = started(run_successor_recipe, TD2, tmp_path, monkeypatch, **words)
    assert "not compared with episodes of its policy, since the task has no environment" in capsys.readouterr().out
    assert not (folder / "values.csv").exists()


@pytest.mark.parametrize("name", ["td2_cfm", "infom"])
def test_the_futures_of_a_successor_measure_are_inspected(run, tmp_path, monkeypatch, capsys, name):
    """Played for the clone of TD²-CFM, and recorded for InFOM, which learns rewards in its second phase."""
    words = {
        "task": f"{FILE}:push",
        "offline_steps": 4,
        "log_interval": 2,
        "save_interval": 2,
        "eval_episodes": 0,
        "agent.batch_size": 8,
    }
    if name == "td2_cfm":
        words |= {"preset": "maze", "agent.measure_of": "clone", "agent.hidden_dims": 8, "agent.count": 4}
        folder = started(run_successor_recipe, TD2, tmp_path / "exp", monkeypatch, **words)
        assert {"values.csv", "distances.csv", "futures.csv", "futures.png"} <= {file.name for file in folder.iterdir()}
    else:
        words |= {"preset": "quickstart", "agent.pretraining_steps": 2}
        words |= {"agent.actor_hidden_dims": 8, "agent.value_hidden_dims": 8}
        folder = started(run_recipe, INFOM, tmp_path / "exp", monkeypatch, **words)
    capsys.readouterr()
    look = ("inspect", folder, "--out", tmp_path / "look", "--task", f"{FILE}:push")
    for step, rewards in ((2, set()), (4, {"the task's reward"}))[name == "td2_cfm" :]:
        status, printed, errors = run(*look, "--episodes", 3, "--step", step)
        assert status == 0, errors
        assert "3 initial states: values from the measure, and Monte Carlo returns" in printed
        rows = read_rows(tmp_path / "look" / "values.csv")
        assert {row["reward"] for row in rows} == rewards | {"the first coordinate"}
        assert len(read_rows(tmp_path / "look" / "distances.csv")) == 3
    status, _, errors = run(*look, "--transitions", 4)
    assert status == 2
    assert f"`transitions` must not be given for a run of {name}, which has a successor measure" in errors
