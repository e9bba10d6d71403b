"""`floqzoo resume`, run in this process as a program would."""

import shlex
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest


sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from toy_run import change_flags, new_run, toy_task

from floqzoo import command_line
from floqzoo.runs import StoredRun, load_recipe, read_metrics
from floqzoo.runs.run_command import run_command
from floqzoo.tasks import own_code
from floqzoo.training import prepared_run


RECIPE = f"""
import sys
sys.path.insert(0, {sys.path[0]!r})
from toy_run import TOY_RECIPE as RECIPE
"""


TASK = RECIPE.replace("TOY_RECIPE as RECIPE", "toy_task as line")


@pytest.fixture
def run(monkeypatch, tmp_path):
    (tmp_path / "mine.py").write_text(RECIPE)
    (tmp_path / "world.py").write_text(TASK)
    monkeypatch.setattr(prepared_run, "load_task", lambda config: toy_task())

    def run(*words):
        monkeypatch.setattr("sys.argv", ["floqzoo", "resume", *(word.format(tmp_path) for word in words)])
        try:
            command_line.main()
        except SystemExit as end:
            return end.code
        return 0

    return run


def test_a_run_goes_on_and_is_reported(run, capsys, tmp_path):
    directory = new_run(tmp_path / "run")
    assert run("{}/run", "--recipe={}/mine.py") == 0
    out = capsys.readouterr().out
    for part in ("toy on line, seed 0", "success rate", f"run directory: {directory}"):
        assert part in out
    np.testing.assert_array_equal(read_metrics(directory / "train.csv")["step"], [10, 20])


def test_of_a_finished_run_nothing_is_left_to_do(run, capsys, tmp_path, monkeypatch):
    directory = new_run(tmp_path / "run")
    assert run("{}/run", "--recipe={}/mine.py") == 0
    left = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    capsys.readouterr()
    monkeypatch.setattr(prepared_run, "load_task", lambda config: pytest.fail("the data were loaded"))
    assert run("{}/run", "--recipe={}/mine.py") == 0
    assert f"{directory} is finished." in capsys.readouterr().out
    assert left == {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("named", "used"), [("auto", "auto"), ("off", "off"), ("/a/strangers/folder", "auto")])
def test_no_folder_of_compiled_programs_that_a_run_names_is_used(run, tmp_path, monkeypatch, named, used):
    asked = []
    monkeypatch.setattr("floqzoo.learner.compilation_cache.use_compilation_cache", asked.append)
    monkeypatch.setattr(prepared_run, "load_task", lambda config: (_ for _ in ()).throw(ValueError("enough")))
    new_run(tmp_path / "run", compilation_cache=named)
    assert run("{}/run", "--recipe={}/mine.py") == 2
    assert asked == [used]


@pytest.mark.parametrize("lost", ["evaluation", "checkpoint"])
def test_a_run_that_lacks_its_last_evaluation_or_checkpoint_is_not_finished(run, tmp_path, lost):
    directory = new_run(tmp_path / "run")
    assert run("{}/run", "--recipe={}/mine.py") == 0
    assert StoredRun(directory).is_finished
    if lost == "evaluation":
        rows = (directory / "eval.csv").read_text().splitlines(keepends=True)
        (directory / "eval.csv").write_text(rows[0])
    else:
        shutil.rmtree(directory / "checkpoints" / "step_000000020")
    assert not StoredRun(directory).is_finished


def test_a_run_whose_last_checkpoint_is_damaged_resumes_from_the_one_before(run, capsys, tmp_path):
    directory = new_run(tmp_path / "run")
    assert run("{}/run", "--recipe={}/mine.py") == 0
    (directory / "checkpoints" / "step_000000020" / "progress.json").write_text("{}")
    capsys.readouterr()
    with pytest.warns(UserWarning, match="progress.json was changed. The previous checkpoint is used"):
        assert run("{}/run", "--recipe={}/mine.py") == 0
    assert "is finished" not in capsys.readouterr().out
    assert (directory / "checkpoints" / "step_000000020.damaged").is_dir()
    assert StoredRun(directory).is_finished


def test_a_finished_run_with_another_setting_is_refused_rather_than_called_finished(run, capsys, tmp_path):
    directory = new_run(tmp_path / "run")
    assert run("{}/run", "--recipe={}/mine.py") == 0
    change_flags(directory, log_interval=5)
    capsys.readouterr()
    assert run("{}/run", "--recipe={}/mine.py") == 2
    assert "`log_interval` was 10 and is 5" in capsys.readouterr().err


def test_sigterm_ends_with_143_and_says_how_to_go_on(run, capsys, tmp_path, monkeypatch):
    directory = new_run(tmp_path / "run")
    monkeypatch.setattr(
        "floqzoo.training.trainer.MetricMean.add", lambda *_: signal.raise_signal(signal.SIGTERM), raising=True
    )
    assert run("{}/run", "--recipe={}/mine.py") == 143
    errors = capsys.readouterr().err
    assert f"Interrupted after 10 updates; metrics and a checkpoint are in {directory}." in errors
    assert f"To resume: floqzoo resume {directory}" in errors
    assert (directory / "checkpoints" / "step_000000010").is_dir()


def test_the_printed_command_resumes_a_run_of_ones_own_recipe_and_task(run, capsys, tmp_path):
    directory = new_run(tmp_path / "a run", env_name=f"{tmp_path}/world.py:line")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("floqzoo.training.trainer.MetricMean.add", lambda *_: signal.raise_signal(signal.SIGTERM))
        assert run("{}/a run", "--recipe={}/mine.py", "--task={}/world.py:line") == 143
    command = shlex.split(capsys.readouterr().err.rpartition("To resume: ")[2])
    own = ["--recipe", f"{tmp_path}/mine.py", "--task", f"{tmp_path}/world.py:line"]
    assert command == ["floqzoo", "resume", str(directory), *own]
    assert run(*command[2:]) == 0
    assert StoredRun(directory).is_finished
    capsys.readouterr()
    assert run(*command[2:]) == 0
    assert f"`{shlex.join(['floqzoo', 'evaluate', str(directory), *own])}` evaluates" in capsys.readouterr().out


def test_a_command_names_recipe_and_task_only_where_they_are_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(own_code, "_files", {})
    run = new_run(tmp_path / "run")
    assert run_command("resume", run) == f"floqzoo resume {run} --recipe FILE.py"
    (tmp_path / "mine.py").write_text(RECIPE)
    load_recipe(tmp_path / "mine.py")
    assert run_command("resume", run) == f"floqzoo resume {run} --recipe {tmp_path}/mine.py"
    monkeypatch.chdir(tmp_path)
    assert run_command("resume", "run") == "floqzoo resume run --recipe mine.py"
    change_flags(run, recipe="floq", env_name="mine:world")
    assert run_command("evaluate", run) == f"floqzoo evaluate {run} --task mine:world"
    assert run_command("evaluate", run, task="b.py:c") == f"floqzoo evaluate {run} --task b.py:c"
    change_flags(run, env_name="line")
    assert run_command("resume", run) == f"floqzoo resume {run}"


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.filterwarnings("ignore:the resumed run differs:UserWarning")
def test_a_run_stopped_at_once_says_whether_there_is_a_checkpoint(run, capsys, tmp_path, monkeypatch, saved):
    directory = new_run(tmp_path / "run")
    if saved:
        assert run("{}/run", "--recipe={}/mine.py") == 0
        change_flags(directory, offline_steps=30)

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepared_run, "train", stop)
    assert run("{}/run", "--recipe={}/mine.py", "--allow_changes") == 130
    where = (
        f"Its latest checkpoint, of step 20, is in {directory}/checkpoints" if saved else "There is no checkpoint yet"
    )
    said = f"The run was stopped at once, during an update. {where}. To resume: floqzoo resume {directory} --recipe"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "RUN"),
        (("{}/nowhere",), "there is no folder"),
        (("{}",), "is not the folder of a run: it has no flags.json"),
        (
            ("{}/run",),
            "there is no recipe 'toy'; the recipes are bc, c51, codac, evor, fb, floq, fql, gaussian_bc, ifql, infom, iql, iqn, qc, "
            "rebrac, sac, sorl, td2_cfm, value_flows.",
        ),
        (("{}/run", "--recipe={}/nowhere.py"), "there is no file"),
        (("{}/run", "--sead=3"), "--sead"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_status_2(run, capsys, tmp_path, words, message):
    new_run(tmp_path / "run")
    assert run(*words) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors


def test_help_leads_a_newcomer(run, capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out
    for part in ("RUN", "--recipe", "--allow_changes"):
        assert part in text
