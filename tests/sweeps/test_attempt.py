"""A start of a trial: its program, its log, its share of the machine, and that it does not outlive its parent."""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
from email.message import Message
from pathlib import Path

import pytest

from floqzoo.runs import checkpoint_steps, read_metrics
from floqzoo.runs.run_directory import run_locked
from floqzoo.sweeps import Resources, unfinished_trials
from floqzoo.sweeps.attempt import Attempt, environment_of
from floqzoo.sweeps.ending import NO_DATA, ending_of
from floqzoo.sweeps.ray_launcher import STOP_SECONDS
from floqzoo.sweeps.run_trial import main
from floqzoo.sweeps.trial_state import logged_progress
from floqzoo.training.cli_errors import USER_ERROR


pytestmark = pytest.mark.slow


LONG = "offline_steps: 100000, log_interval: 10, save_interval: 10, eval_interval: 0"
PARENT = """
import sys
from pathlib import Path
from floqzoo.sweeps.attempt import Attempt
Attempt(Path(sys.argv[1]), sys.argv[2:], {}, ".").run("a place")
"""


def alive(directory):
    """Whether a process trains in a folder."""
    try:
        with run_locked(directory):
            return False
    except BlockingIOError:
        return True


def wait_until(is_true, seconds=120):
    latest = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < latest
        time.sleep(0.02)


def test_a_trial_dies_with_its_parent_and_another_start_goes_on(toy_sweep):
    """The parent is killed so that it can tell nobody; the next one is stopped by an interrupt, as Ctrl-C is."""
    trial = toy_sweep(fields=LONG).trials[0]
    checkpoints = trial.directory / "checkpoints"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(trial.directory), *trial.words])
    wait_until(lambda: checkpoint_steps(checkpoints))
    assert alive(trial.directory)
    parent.kill()
    parent.wait()
    wait_until(lambda: not alive(trial.directory), 10)
    reached = max(checkpoint_steps(checkpoints))

    threading.Thread(target=interrupt_once, args=(lambda: max(checkpoint_steps(checkpoints)) > reached,)).start()
    with pytest.raises(KeyboardInterrupt):
        Attempt(trial.directory, trial.words, {}, os.getcwd()).run("another place")
    assert not alive(trial.directory)
    log = (trial.directory / "log.txt").read_text()
    assert [line.rpartition(" on ")[2] for line in log.splitlines() if line.startswith("== ")] == [
        "a place",
        "another place",
    ]
    assert f"resumes after {reached} updates" in log
    assert "metrics and a checkpoint are in" in log
    assert max(checkpoint_steps(checkpoints)) == read_metrics(trial.directory / "train.csv")["step"].max() > reached


def test_a_trial_that_is_stopped_in_a_long_evaluation_ends_by_itself(toy_sweep):
    """It writes its checkpoint, and does not wait for the evaluation until Ray, or Slurm, kills it."""
    forever = "offline_steps: 40, log_interval: 10, save_interval: 0, eval_interval: 10, eval_episodes: 100000"
    (trial,) = toy_sweep(fields=f"{forever}, eval_workers: 1").trials
    attempt = Attempt(trial.directory, trial.words, {}, os.getcwd())
    killer = threading.Timer(STOP_SECONDS, attempt._clear_up)

    def interrupt_second_evaluation():
        wait_until(lambda: logged_progress(trial.directory)[0] == 20)
        killer.start()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_second_evaluation).start()
    with pytest.raises(KeyboardInterrupt):
        attempt.run("a place")
    killer.cancel()
    assert attempt._process.returncode == 128 + signal.SIGTERM
    assert checkpoint_steps(trial.directory / "checkpoints") == [20]


LEAVES_A_PROCESS = """
import pathlib, subprocess, sys, time
child = subprocess.Popen(["sleep", "1000"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
if sys.argv[2] == "wait":
    time.sleep(1000)
sys.exit(int(sys.argv[2]))
"""


@pytest.mark.parametrize("ending", ["0", "1", "wait"])
def test_no_process_outlives_its_trial_however_it_ends(tmp_path, monkeypatch, ending):
    """A trial that is finished, fails or is interrupted, and has started a process that does not end by itself."""
    (tmp_path / "leaves_a_process.py").write_text(LEAVES_A_PROCESS)
    monkeypatch.setattr("floqzoo.sweeps.attempt.PROGRAM", "leaves_a_process")
    number = tmp_path / "pid"
    attempt = Attempt(tmp_path / "run", [str(number), ending], {}, str(tmp_path))
    if ending == "wait":
        threading.Thread(target=interrupt_once, args=(lambda: number.exists() and number.read_text(),)).start()
        with pytest.raises(KeyboardInterrupt):
            attempt.run("a place")
    else:
        assert attempt.run("a place") == int(ending)
    wait_until(lambda: is_gone(int(number.read_text())), 10)


def is_gone(number):
    """Whether a process has ended; an orphan whose end nobody has noticed yet is a zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def interrupt_once(is_true):
    wait_until(is_true)
    os.kill(os.getpid(), signal.SIGINT)


def run_and_report(trial, capsys):
    """Carries out a trial in this process; gives its exit status, and what it said."""
    status = 0
    try:
        main(trial.words)
    except SystemExit as end:
        status = end.code
    return status, "".join(capsys.readouterr())


def test_a_trial_begins_goes_on_and_is_finished_once(toy_sweep, capsys):
    sweep = toy_sweep(fields="offline_steps: 20")
    (trial,) = sweep.trials
    assert unfinished_trials(sweep) == [trial]
    (trial.directory / "flags.json").parent.mkdir(parents=True)
    (trial.directory / "flags.json").write_text("{")  # It was killed before there was a run.
    assert run_and_report(trial, capsys)[0] == 0
    assert unfinished_trials(sweep) == []
    before = (trial.directory / "train.csv").read_text()
    assert run_and_report(trial, capsys) == (0, f"{trial.directory} is finished.\n")
    assert (trial.directory / "train.csv").read_text() == before

    (trial.directory / "finished.json").unlink()  # As if it had been killed while it was drawing its curve.
    status, said = run_and_report(trial, capsys)
    assert status == 0 and "resumes after 20 updates" in said
    assert unfinished_trials(sweep) == []


def test_a_folder_of_other_settings_is_refused(toy_sweep, capsys):
    (trial,) = toy_sweep(fields="offline_steps: 20").trials
    assert run_and_report(trial, capsys)[0] == 0
    (trial.directory / "finished.json").unlink()
    other = [word.replace("--offline_steps=20", "--offline_steps=30") for word in trial.words]
    with pytest.raises(SystemExit) as end:
        main(other)
    assert end.value.code == 2
    assert "contains a run with different settings: `offline_steps` was 20 and is 30" in capsys.readouterr().err


def test_a_run_that_another_process_is_at_is_waited_for(toy_sweep, capsys, monkeypatch):
    (trial,) = toy_sweep(fields="offline_steps: 20").trials
    trial.directory.mkdir(parents=True)
    monkeypatch.setattr("floqzoo.sweeps.run_trial.PATIENCE_SECONDS", 0.0)
    with run_locked(trial.directory):
        status, said = run_and_report(trial, capsys)
    assert status == 2 and "another process is training in" in said
    monkeypatch.setattr("floqzoo.sweeps.run_trial.PATIENCE_SECONDS", 60.0)
    lock = run_locked(trial.directory)
    lock.__enter__()
    threading.Timer(0.2, lock.__exit__, (None, None, None)).start()
    assert run_and_report(trial, capsys)[0] == 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (urllib.error.URLError("no such host"), USER_ERROR),
        (urllib.error.URLError(TimeoutError("timed out")), NO_DATA),
        (ConnectionResetError("reset by peer"), NO_DATA),
        (urllib.error.HTTPError("https://host/file", 404, "Not Found", Message(), None), USER_ERROR),
        (urllib.error.HTTPError("https://host/file", 503, "Unavailable", Message(), None), NO_DATA),
    ],
)
def test_a_trial_is_tried_again_if_its_connection_was_lost_and_not_if_there_is_no_host(
    tmp_path, capsys, monkeypatch, error, status
):
    pytest.importorskip("ogbench")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr("urllib.request.urlopen", fail)
    with pytest.raises(SystemExit) as end:
        main([f"--run_directory={tmp_path / 'run'}", "--recipe=fql", f"--dataset_dir={tmp_path}"])
    assert end.value.code == status
    assert ending_of(status).final == (status == USER_ERROR)
    assert f"its download failed ({error})" in capsys.readouterr().err


def test_a_trial_keeps_to_its_share(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--mine")
    monkeypatch.delenv("JAX_PLATFORMS")
    one = environment_of(Resources())
    assert (one["NPROC"], one["JAX_PLATFORMS"]) == ("1", "cpu")
    assert one["XLA_FLAGS"] == "--mine --xla_cpu_multi_thread_eigen=false"
    assert environment_of(Resources(cpu=3))["OMP_NUM_THREADS"] == "3"
    shares = [float(environment_of(Resources(gpu=1 / n))["XLA_PYTHON_CLIENT_MEM_FRACTION"]) * n for n in (1, 2, 4, 8)]
    assert all(0.85 < share < 0.95 for share in shares)
    assert "JAX_PLATFORMS" not in environment_of(Resources(gpu=2.0))
