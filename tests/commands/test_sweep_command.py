"""`floqzoo sweep`, with trials that run in this process in place of Ray's."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from floqzoo.runs.run_directory import FORMAT
from floqzoo.sweeps import launcher
from floqzoo.sweeps.ending import ending_of
from floqzoo.sweeps.run_trial import main
from floqzoo.training import prepared_run


pytestmark = pytest.mark.slow


pytest.importorskip("ogbench")
pytest.importorskip("yaml")
TOY = Path(__file__).parents[1] / "sweeps" / "toy_recipe.py"
SWEEP = f"""
recipes: [{TOY}]
tasks: [pointmaze-medium-navigate-singletask-task1-v0]
fields: {{offline_steps: 10, agent.batch_size: [4, 8]}}
"""


class Here:
    """In place of Ray."""

    warning = ""

    def __init__(self, resources, address):
        self.waiting = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def start(self, trial):
        self.waiting.append(trial)

    def ended(self, seconds):
        trial, status = self.waiting.pop(0), 0
        try:
            main(trial.words)
        except SystemExit as end:
            status = end.code
        return [(trial, ending_of(status))]

    def stop(self):
        pass


@pytest.fixture
def sweep(run, tmp_path, monkeypatch):
    """Runs `floqzoo sweep` on a file."""
    monkeypatch.setattr(prepared_run, "load_task", prepared_run.load_task)  # The toy recipe replaces it.
    monkeypatch.setattr(launcher, "RayLauncher", Here)

    def sweep(*words, text=SWEEP):
        (tmp_path / "mine.yaml").write_text(text)
        return run("sweep", tmp_path / "mine.yaml", "--save_dir", tmp_path / "exp", *words)

    return sweep


def folders(tmp_path):
    return sorted((tmp_path / "exp" / "floqzoo" / "mine").glob("toy_*"))


def test_a_dry_run_prints_commands_that_run_the_trials(sweep, tmp_path):
    status, out, err = sweep("--dry_run")
    assert (status, err) == (0, "2 trials, 2 to run\n")
    commands = out.splitlines()
    assert len(commands) == 2 and not (tmp_path / "exp").exists()
    assert all(shlex.split(command)[0] == sys.executable for command in commands)
    subprocess.run(commands[0], shell=True, check=True, capture_output=True)
    (folder,) = folders(tmp_path)
    assert (folder / "finished.json").exists()
    assert sweep("--dry_run")[1:] == (out, "2 trials, 1 to run\n")


def test_a_sweep_ends_with_its_table_and_goes_on(sweep, tmp_path):
    status, out, err = sweep()
    assert status == 0
    assert "2 trials, 0 of them finished" in err and err.count("\nfinished: ") == 2
    for part in ("toy batch_size=4", "toy batch_size=8", "comparison.md", "comparison.csv", "curves.png"):
        assert part in out
    again = sweep()
    assert (again[0], again[2]) == (0, "")
    assert out.endswith(again[1])


def test_a_trial_that_fails_stops_no_other_and_ends_with_status_1(sweep, tmp_path, monkeypatch):
    def train(run):
        if run.config.agent.batch_size == 4:
            raise OSError("no space left")
        return honest(run)

    honest = prepared_run.PreparedRun.train
    monkeypatch.setattr(prepared_run.PreparedRun, "train", train)
    status, out, err = sweep()
    assert status == 1
    assert (
        "failed: toy batch_size=4 on pointmaze-medium-navigate-singletask-task1-v0, seeds 0 ended with status 1" in err
    )
    assert "toy batch_size=4" not in out
    assert [folder.joinpath("finished.json").exists() for folder in folders(tmp_path)].count(True) == 1


def test_slurm_is_given_what_is_not_finished(sweep, monkeypatch):
    asked = []

    class Job:
        job_id = "7_0"

    monkeypatch.setattr(
        "floqzoo.sweeps.slurm_launcher.submit", lambda read, trials: asked.extend(trials) or [Job() for _ in trials]
    )
    assert sweep("--slurm")[:2] == (0, "2 trials submitted: 7_0 and on\n")
    assert len(asked) == 2
    sweep()
    assert sweep("--slurm")[:2] == (0, "0 trials submitted\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SWEEP.replace(str(TOY), "flok"), "Did you mean floq?"),
        (SWEEP.replace("medium", "meduim"), "Similar names: pointmaze-medium-navigate"),
        (SWEEP.replace("agent.batch_size", "agent.batchsize"), "did you mean agent.batch_size"),
        (SWEEP.replace("[4, 8]", "[4, 8.5]"), "`agent.batch_size` must be int; got 8.5"),
        (SWEEP.replace("[4, 8]", "[]"), "`agent.batch_size` must not be an empty list"),
        (SWEEP + "tasks: []", "`tasks` is set twice"),
    ],
)
def test_a_users_mistake_is_one_sentence_before_anything_starts(sweep, tmp_path, text, says):
    for words in ((), ("--dry_run",), ("--slurm",)):
        status, out, err = sweep(*words, text=text)
        assert (status, out) == (2, "")
        assert len(err.splitlines()) == 1 and says in err
        assert not (tmp_path / "exp").exists()


def test_a_run_of_another_version_is_refused_before_anything_starts(sweep, tmp_path):
    sweep()
    machine = folders(tmp_path)[0] / "machine.json"
    machine.write_text(machine.read_text().replace(f'"format": {FORMAT}', '"format": 9'))
    status, _, err = sweep()
    assert status == 2 and "in the run format 9" in err
