import dataclasses
import errno
import json
import re

import numpy as np
import pytest
from toy_run import Line, ToyConfig, ToyTask, build_toy, toy_config, toy_task

from floqzoo.runs import Recipe, RunConfig, read_metrics
from floqzoo.runs.run_directory import LOCK
from floqzoo.training import prepared_run, run_recipe
from floqzoo.training.command_line import parse_arguments


def default(env_name):
    """What is published."""
    if env_name == "nowhere":
        raise ValueError("`env_name` is 'nowhere'; did you mean 'line'?")
    config = toy_config(env_name=env_name or "line")
    return dataclasses.replace(config, agent=ToyConfig(alpha=300.0 if env_name == "steep" else 10.0))


def quick(env_name):
    """A minute's worth."""
    return dataclasses.replace(default(env_name), offline_steps=4, log_interval=2, eval_interval=2, eval_episodes=2)


RECIPE = Recipe(name="toy", build=build_toy, presets={"default": default, "quickstart": quick})


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs the recipe as a program would, in this process; returns its exit status."""

    def run(*words, task=None):
        monkeypatch.setattr("sys.argv", ["toy.py", *words, f"--save_dir={tmp_path}"])
        monkeypatch.setattr(prepared_run, "load_task", lambda config: task or toy_task())
        try:
            run_recipe(RECIPE)
        except SystemExit as end:
            return end.code
        return 0

    return run


def test_without_words_the_default_preset():
    assert parse_arguments(RECIPE, []) == default(None)


@pytest.mark.parametrize(
    "words",
    [
        ["--env_name=steep", "--agent.alpha=7", "--seed=3"],
        ["--env-name=steep", "--agent.alpha", "7", "--seed", "3"],
        ["--seed", "3", "--agent.alpha=7", "--env_name", "steep", "--preset", "default"],
    ],
)
def test_flags_are_laid_over_the_preset(words):
    config = parse_arguments(RECIPE, words)
    assert isinstance(config, RunConfig)
    assert (config.env_name, config.agent.alpha, config.seed) == ("steep", 7.0, 3)


def test_the_environment_chooses_the_settings():
    assert parse_arguments(RECIPE, ["--env_name=steep"]).agent.alpha == 300
    assert parse_arguments(RECIPE, ["--preset=quickstart", "--env_name=steep"]) == quick("steep")


@pytest.mark.parametrize("flag", ["--help", "-h", "--help-all", "--help_all"])
def test_help_has_presets_flags_and_defaults(run, capsys, flag):
    assert run("--preset=quickstart", "--env_name=steep", flag) == 0
    text = capsys.readouterr().out
    summaries = ("default: What is published.", "quickstart: A minute's worth.")
    for part in (*summaries, "of the preset 'quickstart'", "alpha", "300.0", "--offline_steps", "steep"):
        assert part in text
    assert ("--keep_checkpoints" in text) == ("all" in flag)


@pytest.mark.parametrize(
    ("words", "tensorboard", "wandb"),
    [
        (["--wandb"], False, True),
        (["--wandb", "--tensorboard"], True, True),
        (["--wandb", "False", "--tensorboard=True"], True, False),
        (["--tensorboard", "True", "--seed", "3"], True, False),
    ],
)
def test_a_switch_without_a_value_is_true(words, tensorboard, wandb):
    config = parse_arguments(RECIPE, words)
    assert (config.tensorboard, config.wandb) == (tensorboard, wandb)


@pytest.mark.parametrize("word", ["2000000", "2e6", "2E+6", "2_000_000", "0.2e7"])
def test_an_integer_may_be_written_as_a_power_of_ten(word):
    config = parse_arguments(RECIPE, [f"--offline_steps={word}", "--save_interval", word])
    assert config.offline_steps == config.save_interval == 2_000_000
    assert type(config.offline_steps) is int


@pytest.mark.parametrize("word", ["1.5e0", "1e-3", "2.0", "inf", "e"])
def test_what_is_no_integer_is_refused(run, capsys, word):
    assert run(f"--offline_steps={word}") == 2
    assert "--offline_steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset=quikstart"], "one of default, quickstart; got 'quikstart'; did you mean quickstart?"),
        (["--env_name=nowhere"], "did you mean 'line'?"),
        (["--log_interval=0"], "`log_interval` must be at least 1; got 0"),
        (["--agent.batch_size=0"], "`agent.batch_size` must be at least 1; got 0"),
        (["--agent.alpah=3"], "--agent.alpah"),
        (["--seed=one"], "--seed"),
        (["--preset"], "--preset"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_status_2(run, capsys, tmp_path, words, message):
    assert run(*words) == 2
    text = capsys.readouterr().err
    assert message in text
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_without_a_default_is_refused():
    with pytest.raises(ValueError, match=r"`presets` must have one named 'default'; it has \['other'\]"):
        Recipe(name="toy", build=build_toy, presets={"other": default})


def test_a_run_prints_a_table_and_leaves_a_folder(run, capsys, tmp_path):
    assert run("--preset=quickstart") == 0
    out = capsys.readouterr().out
    (folder,) = (tmp_path / "floqzoo" / "debug").iterdir()
    table = ("toy on line, seed 0", "success rate", "2 each, success timing pre", "updates", "compilation")
    for part in (*table, f"run directory: {folder}", f"learning curve: {folder}/learning_curve.png"):
        assert part in out
    names = {"flags.json", "machine.json", "data.json", "train.csv", "eval.csv", "checkpoints", "learning_curve.png"}
    assert {path.name for path in folder.iterdir()} == {*names, LOCK}
    assert json.loads((folder / "flags.json").read_text())["offline_steps"] == 4
    assert len(read_metrics(folder / "train.csv")["step"]) == 2


def test_ctrl_c_ends_with_130_and_says_where_the_run_is(run, capsys, tmp_path):
    class Interrupting(Line):
        def step(self, action):
            raise KeyboardInterrupt

    assert run("--preset=quickstart", task=ToyTask(toy_task().dataset, make_environment=Interrupting)) == 130
    (folder,) = (tmp_path / "floqzoo" / "debug").iterdir()
    assert (
        f"Interrupted after 2 updates; metrics and a checkpoint are in {folder}. To resume: floqzoo"
        in capsys.readouterr().err
    )
    assert (folder / "checkpoints" / "step_000000002").is_dir()


@pytest.mark.slow
def test_several_seeds_are_one_run(run, capsys, tmp_path):
    assert run("--preset=quickstart", "--seed=3", "--seeds=2") == 0
    out = capsys.readouterr().out
    (folder,) = (tmp_path / "floqzoo" / "debug").iterdir()
    assert folder.name.startswith("toy_sd003-004_")
    assert "toy on line, seeds 3 to 4" in out
    assert re.search(r"\d+ ± \d+ % over 2 seeds \(3: \d+ %, 4: \d+ %\)", out)
    np.testing.assert_array_equal(read_metrics(folder / "eval.csv")["seed"], [3, 4, 3, 4])


def test_what_cannot_be_written_ends_with_1_and_can_be_resumed(run, capsys, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("floqzoo.runs.metric_log._as_text", full)
    assert run("--preset=quickstart") == 1
    errors = capsys.readouterr().err
    (folder,) = (tmp_path / "floqzoo" / "debug").iterdir()
    resumed = f"continue with `floqzoo resume {folder} --recipe "
    for part in ("No space left on device", "The run has stopped.", resumed):
        assert part in errors
    assert "Traceback" not in errors


def test_a_folder_that_cannot_be_made_is_a_users_mistake(run, capsys, tmp_path):
    (tmp_path / "floqzoo").write_text("a file")
    assert run("--preset=quickstart") == 2
    assert "no run can be written to" in capsys.readouterr().err


def test_nan_ends_with_1_and_one_line(run, capsys):
    words = ("--offline_steps=500", "--eval_interval=0", "--save_interval=0")
    assert run(*words, task=toy_task(bad_row=True)) == 1
    errors = capsys.readouterr().err
    assert "became NaN or infinite in update" in errors
    assert "Traceback" not in errors


def test_a_bad_file_is_a_users_mistake(run, capsys, monkeypatch):
    def missing(config):
        raise FileNotFoundError("there is no file here.npz.")

    monkeypatch.setattr("sys.argv", ["toy.py"])
    monkeypatch.setattr(prepared_run, "load_task", missing)
    with pytest.raises(SystemExit) as end:
        run_recipe(RECIPE)
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: there is no file here.npz.\n"
