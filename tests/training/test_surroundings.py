"""What the surroundings of a run may lack: one sentence, a status that a sweep does not retry, and no half-made folder."""

import errno
import socket
import subprocess
import sys
from contextlib import nullcontext

import jax
import pytest
from toy_run import TOY_RECIPE, Line, ToyTask, new_run, toy_config, toy_task

from floqzoo.learner import devices
from floqzoo.runs import checkpoint_steps
from floqzoo.runs.run_directory import LOCK, discard
from floqzoo.sweeps.ending import ending_of
from floqzoo.training import prepared_run, run_recipe
from floqzoo.training.cli_errors import USER_ERROR, errors_explained


SMALL = ("--offline_steps=4", "--log_interval=2", "--eval_interval=2", "--save_interval=2", "--eval_episodes=2")


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs the recipe as a program would, in this process; returns its exit status and what it says."""

    def run(*words, task=None):
        monkeypatch.setattr("sys.argv", ["toy.py", *SMALL, *words, f"--save_dir={tmp_path / 'exp'}"])
        monkeypatch.setattr(prepared_run, "load_task", lambda config: task or toy_task())
        with pytest.raises(SystemExit) as end:
            run_recipe(TOY_RECIPE)
        return end.value.code, capsys.readouterr().err

    return run


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def refused(status, told):
    """One sentence, and a status that a sweep does not retry."""
    assert status == USER_ERROR and ending_of(status).final
    assert "Traceback" not in told
    (line,) = (line for line in told.splitlines() if line.startswith("error: "))
    return line


def test_no_device(monkeypatch, capsys):
    """What JAX raises depends on who asks first."""
    for error in (RuntimeError("Unable to initialize backend"), AssertionError()):

        def without(*_, error=error):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(jax, "devices", without)
            patch.setenv("JAX_PLATFORMS", "cuda")
            with pytest.raises(SystemExit) as end, errors_explained():
                without()
            assert "no device for JAX_PLATFORMS='cuda'" in refused(end.value.code, capsys.readouterr().err)
        # With a device it is an error of another kind.
        with pytest.raises(type(error)), errors_explained():
            without()


@pytest.mark.slow
def test_no_device_in_a_program(tmp_path):
    words = [
        sys.executable,
        "-c",
        "from recipes.bc import RECIPE; from floqzoo.training import run_recipe; run_recipe(RECIPE)",
    ]
    words += [f"--save_dir={tmp_path}", "--env_name=line:line", "--preset=default"]
    (tmp_path / "line.py").write_text("from toy_run import toy_task as line")
    paths = ":".join([*sys.path, str(tmp_path)])
    ran = subprocess.run(
        words, env={"JAX_PLATFORMS": "no_such_platform", "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert "no device for JAX_PLATFORMS='no_such_platform'" in refused(ran.returncode, ran.stderr)
    assert not (tmp_path / "floqzoo").exists()


def test_no_login_at_weights_and_biases(run, monkeypatch, tmp_path):
    wandb = pytest.importorskip("wandb")

    def fail(*_, dir, **__):
        assert list((tmp_path / "exp").rglob("flags.json"))
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "init", fail)
    line = refused(*run("--wandb=True"))
    assert line.startswith(
        "error: --wandb cannot be used: No API key configured. Log in with `wandb login`, or set WANDB_MODE"
    )
    assert not files_below(tmp_path) and not (tmp_path / "exp" / "floqzoo").exists()


def test_no_room_for_checkpoints(run, monkeypatch, tmp_path):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("floqzoo.runs.run_store.shutil.disk_usage", lambda _: usage)
    assert "MB of free space; the checkpoints of the run need" in refused(*run())
    assert not files_below(tmp_path)


def test_what_is_not_of_the_run_is_not_discarded(tmp_path, toy_data):
    folder = new_run(tmp_path / "run")
    (folder / "log.txt").write_text("of a sweep")
    (folder / LOCK).touch()
    discard(folder)
    assert [path.name for path in files_below(tmp_path)] == ["log.txt"]


def test_no_run_to_start_from(run, monkeypatch, tmp_path):
    """It is missed before any data are downloaded."""
    loaded = []
    task = property(lambda self: loaded.append(1))
    assert "there is no folder" in refused(*run(f"--start_from={tmp_path / 'nowhere'}", task=task))
    assert not loaded and not files_below(tmp_path)


def test_no_first_process(monkeypatch):
    with socket.socket() as bound:  # not listening
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        for name, value in ((devices.ADDRESS, address), (devices.COUNT, "2"), (devices.NUMBER, "1")):
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(devices, "PATIENCE_SECONDS", 0.0)
        with pytest.raises(ConnectionError, match=f"must be the HOST:PORT of the first process; got {address}"):
            devices.join_processes()


@pytest.mark.parametrize("late", [0.0, devices.PATIENCE_SECONDS - 2, devices.PATIENCE_SECONDS + 2])
def test_a_process_waits_for_the_first_one_for_a_while(late, monkeypatch):
    """An address that is none is refused at once."""
    clock, joined = [0.0], []

    def connect(address, timeout):
        if clock[0] < late:
            raise ConnectionRefusedError
        return nullcontext()

    def sleep(seconds):
        clock[0] += seconds
        assert clock[0] <= devices.PATIENCE_SECONDS + 1

    monkeypatch.setattr(devices.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(devices.time, "sleep", sleep)
    monkeypatch.setattr(devices.socket, "create_connection", connect)
    monkeypatch.setattr(jax.distributed, "initialize", lambda **settings: joined.append(settings["process_id"]))
    for name, value in ((devices.ADDRESS, "first:none"), (devices.COUNT, "2"), (devices.NUMBER, "1")):
        monkeypatch.setenv(name, value)
    with pytest.raises(ConnectionError, match="must be the HOST:PORT of the first process; got first:none"):
        devices.join_processes()
    assert clock == [0.0]
    monkeypatch.setenv(devices.ADDRESS, "first:5")
    with nullcontext() if late < devices.PATIENCE_SECONDS else pytest.raises(ConnectionError):
        devices.join_processes()
    assert joined == ([1] if late < devices.PATIENCE_SECONDS else [])


def test_no_such_metric_to_choose_the_best_checkpoint_by(run, tmp_path):
    with pytest.raises(
        ValueError, match=r"`best_metric` must be one of evaluation/success, evaluation/episode.return, .* got 'x'"
    ):
        toy_config(best_metric="x")
    task = type("Task", (ToyTask,), {"success_key": None})(toy_task().dataset)
    line = refused(*run("--best_metric=evaluation/success", task=task))
    assert "`best_metric` must not be evaluation/success on line, which reports no success" in line
    assert not files_below(tmp_path)


@pytest.mark.parametrize(
    ("words", "changes", "message"),
    [
        (("--best_metric=diagnostics/foo",), {}, "must not be diagnostics/foo; the critic has no diagnostics"),
        (
            ("--best_metric=evaluation/episode.return_normalised",),
            {},
            "must not be evaluation/episode.return_normalised on line, which has no `reference_returns`",
        ),
        ((), {"make_environment": None}, "`eval_episodes` must be 0 on line, which has no environment; got 2"),
        (("--eval_workers=1",), {"make_environment": lambda: Line()}, "`make_environment` must be picklable"),
    ],
)
def test_what_no_evaluation_could_do_is_refused_before_there_is_a_folder(run, tmp_path, words, changes, message):
    task = ToyTask(toy_task().dataset, **changes)
    assert message in refused(*run(*words, task=task))
    assert not files_below(tmp_path)


class Unplugged(Line):
    """Loses its device in the second step, which Python reports as it does a full disk."""

    def step(self, action):
        if self.t == 1:
            raise OSError(errno.EIO, "the joystick is unplugged")
        return super().step(action)


class Unmade(Line):
    def __init__(self):
        raise FileNotFoundError(errno.ENOENT, "no such model", "robot.xml")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (Unplugged, r"the environment Unplugged raised OSError: \[Errno 5\] the joystick is unplugged"),
        (Unmade, r"an environment cannot be made: FileNotFoundError: \[Errno 2\] no such model: 'robot.xml'"),
    ],
)
@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--eval_workers=1",)])
def test_an_error_of_an_environment_is_not_taken_for_a_full_disk(
    run, monkeypatch, tmp_path, environment, message, words
):
    """It keeps its traceback, and a checkpoint is written."""
    monkeypatch.setattr("sys.argv", ["toy.py", *SMALL, *words, "--save_interval=0", f"--save_dir={tmp_path}"])
    task = ToyTask(toy_task().dataset, make_environment=environment)
    monkeypatch.setattr(prepared_run, "load_task", lambda config: task)
    with pytest.raises(RuntimeError, match=message) as failure:
        run_recipe(TOY_RECIPE)
    (folder,) = (tmp_path / "floqzoo" / "debug").iterdir()
    assert checkpoint_steps(folder / "checkpoints")
    assert any("Its latest checkpoint" in note for note in failure.value.__notes__)
