"""A run that is interrupted and resumed is bitwise identical to an uninterrupted one."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from toy_run import TOY_RECIPE, Line, ToyTask, change_flags, new_run, toy_state, toy_task

from floqzoo.learner import ScannedUpdate
from floqzoo.runs import DamagedError, checkpoint_steps, read_metrics, restore_checkpoint
from floqzoo.training import prepared_run, resume


KILLS = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 2
# No interval is a multiple of another, so that every kind of moment occurs.
LIVELY = {"offline_steps": 42, "log_interval": 4, "save_interval": 6, "eval_interval": 14, "seeds": 2, "seed": 5}

pytestmark = pytest.mark.usefixtures("toy_data")


def assert_same_run(one: Path, other: Path) -> None:
    assert_same_tables(one, other)
    assert checkpoint_steps(one / "checkpoints") == checkpoint_steps(other / "checkpoints")
    ours, theirs = (restore_checkpoint(run / "checkpoints", toy_state(0, 1)).tree for run in (one, other))
    np.testing.assert_array_equal(*(jax.random.key_data(tree.keys) for tree in (ours, theirs)))
    for our_leaf, their_leaf in zip(jax.tree.leaves(ours.agents), jax.tree.leaves(theirs.agents), strict=True):
        np.testing.assert_array_equal(our_leaf, their_leaf)


def assert_same_tables(one: Path, other: Path) -> None:
    for table in ("train.csv", "eval.csv"):
        ours, theirs = read_metrics(one / table), read_metrics(other / table)
        assert list(ours) == list(theirs)
        for name in ours:
            if not name.startswith("time/"):
                np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def command(directory: Path, seconds: float) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("killed_run.py")), str(directory), str(seconds)]


def live(directory: Path, seconds: float) -> subprocess.CompletedProcess:
    return subprocess.run(command(directory, seconds), capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_is_the_same_run(whole, tmp_path):
    """Real processes, killed by SIGKILL at times that a fixed seed draws, until one is left alone."""
    uninterrupted = live(new_run(tmp_path / "timed", **LIVELY), 10_000)
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    seconds = float(uninterrupted.stdout.split()[-1])
    assert_same_run(whole, tmp_path / "timed")
    directory, times = new_run(tmp_path / "killed", **LIVELY), random.Random(0)
    kills = 0
    while kills < KILLS:
        process = live(directory, times.uniform(0, seconds))
        assert process.returncode in (0, -signal.SIGKILL), process.stderr
        kills += process.returncode != 0
        if process.returncode == 0:  # It was done before its time: another one takes the rest of the kills.
            assert_same_run(whole, directory)
            shutil.rmtree(directory)
            new_run(directory, **LIVELY)
    process = live(directory, 10_000)
    assert process.returncode == 0, process.stderr
    assert_same_run(whole, directory)


class Interrupting(Line):
    def step(self, action):
        raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interrupted_run_goes_on_within_an_interval(whole, tmp_path, monkeypatch):
    """Stopped in its first evaluation, after 14 updates: 2 of them have no row yet, and 2 no checkpoint."""
    directory = new_run(tmp_path / "run", **LIVELY)
    interrupting = ToyTask(toy_task().dataset, make_environment=Interrupting)
    monkeypatch.setattr(prepared_run, "load_task", lambda config: interrupting)
    result = resume(directory, recipe=TOY_RECIPE)
    assert (result.stopped_by, result.steps) == (signal.SIGINT, 14)
    np.testing.assert_array_equal(read_metrics(directory / "train.csv")["step"][::2], [4, 8, 12, 14])
    monkeypatch.setattr(prepared_run, "load_task", lambda config: toy_task())
    assert resume(directory, recipe=TOY_RECIPE).stopped_by is None
    assert_same_run(whole, directory)


def test_a_damaged_checkpoint_costs_the_way_from_the_one_before(whole, tmp_path):
    directory = shutil.copytree(whole, tmp_path / "run")
    kept = checkpoint_steps(directory / "checkpoints")
    (directory / "checkpoints" / f"step_{kept[-1]:09d}" / "progress.json").write_text("{}")
    with pytest.warns(UserWarning, match="progress.json was changed. The previous checkpoint is used"):
        resume(directory, recipe=TOY_RECIPE)
    assert (directory / "checkpoints" / f"step_{kept[-1]:09d}.damaged").is_dir()
    assert_same_run(whole, directory)


def test_of_a_finished_run_the_agents_are_returned_and_nothing_is_done(whole, tmp_path, capsys, monkeypatch):
    directory = shutil.copytree(whole, tmp_path / "run")
    left = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    monkeypatch.setattr(prepared_run, "load_task", lambda config: pytest.fail("the data were loaded"))
    monkeypatch.setattr(ScannedUpdate, "compile", lambda *_: pytest.fail("an update was compiled"))
    result = resume(directory, recipe=TOY_RECIPE)
    assert f"{directory} is finished." in capsys.readouterr().err
    assert left == {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert (result.seeds, result.steps, result.updates, result.stopped_by) == ((5, 6), 42, 42, None)
    stored = restore_checkpoint(directory / "checkpoints", toy_state(5, 6)).tree.agents
    for ours, theirs in zip(jax.tree.leaves(result.agents), jax.tree.leaves(stored), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def unfinished(whole, directory):
    """A copy of a run without its last evaluation."""
    shutil.copytree(whole, directory)
    rows = (directory / "eval.csv").read_text().splitlines(keepends=True)
    (directory / "eval.csv").write_text("".join(row for row in rows if not row.startswith("42,")))
    return directory


def test_other_settings_are_refused_unless_asked_for(whole, tmp_path):
    directory = shutil.copytree(whole, tmp_path / "run")
    change_flags(directory, offline_steps=44, agent={"batch_size": 8, "alpha": 7.0, "width": 8}, save_dir="elsewhere")
    message = (
        r"different settings or data: `agent.alpha` was 10.0 and is 7.0; `offline_steps` was 42 and is 44\. "
        "Restore them, or resume with --allow_changes"
    )
    with pytest.raises(ValueError, match=message):
        resume(directory, recipe=TOY_RECIPE)
    assert checkpoint_steps(directory / "checkpoints") == checkpoint_steps(whole / "checkpoints")
    with pytest.warns(
        UserWarning, match=r"the resumed run differs .*: `agent.alpha` was .*; `offline_steps` was 42 and is 44\."
    ):
        assert resume(directory, recipe=TOY_RECIPE, allow_changes=True).steps == 44


def test_other_seeds_are_always_refused(whole, tmp_path):
    directory = shutil.copytree(whole, tmp_path / "run")
    change_flags(directory, seeds=3)
    with pytest.raises(ValueError, match=r"cannot resume with .* different seeds: `seeds` was 2 and is 3"):
        resume(directory, recipe=TOY_RECIPE, allow_changes=True)


def test_other_data_are_refused_unless_asked_for(whole, tmp_path, monkeypatch):
    directory = unfinished(whole, tmp_path / "run")
    monkeypatch.setattr(prepared_run, "load_task", lambda config: toy_task(bad_row=True))
    with pytest.raises(ValueError, match=r"different settings or data: `fingerprint` was '.*' and is '.*'\. Restore"):
        resume(directory, recipe=TOY_RECIPE)
    with pytest.warns(UserWarning, match="the resumed run differs .*: `fingerprint` was"):
        resume(directory, recipe=TOY_RECIPE, allow_changes=True)


def test_a_log_that_lost_rows_is_refused(whole, tmp_path):
    directory = unfinished(whole, tmp_path / "run")
    (directory / "train.csv").write_text("step,seed\n4,5\n")
    with pytest.raises(DamagedError, match=r"train\.csv must have at least 22 rows; it has 1"):
        resume(directory, recipe=TOY_RECIPE)


def test_a_checkpoint_that_says_nonsense_of_its_progress_is_refused(whole, tmp_path, monkeypatch):
    monkeypatch.setattr("floqzoo.runs.checkpoint.verify", lambda path: None)
    directory = unfinished(whole, tmp_path / "run")
    for path in (directory / "checkpoints").glob("*/progress.json"):
        path.write_text('{"mean": {"updates": 1, "sums": {"a": ["__import__"]}}, "rows": {}, "seconds": {}}')
    with pytest.raises(DamagedError, match=r"the checkpoint .*step_\d+ lacks the progress of the run"):
        resume(directory, recipe=TOY_RECIPE)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


class Hungry(Line):
    """Fills the disk when it is first reset."""

    filler: Path

    def reset(self, **settings):
        if not self.filler.exists():
            with self.filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(1024))
        return super().reset(**settings)


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_it_goes_on_when_there_is_room(whole, small_disk, monkeypatch, caplog):
    """The disk is full from the first evaluation on, after 14 updates."""
    directory = new_run(small_disk / "run", **LIVELY)
    Hungry.filler = small_disk / "filler"
    hungry = ToyTask(toy_task().dataset, make_environment=Hungry)
    monkeypatch.setattr(prepared_run, "load_task", lambda config: hungry)
    with pytest.raises(
        OSError,
        match=r"[Nn]o space .*The run has stopped\. Its latest checkpoint, of step 12, is in .*`floqzoo resume .*/run --recipe ",
    ):
        resume(directory, recipe=TOY_RECIPE)
    assert not caplog.records
    Hungry.filler.write_bytes(b"")
    resume(directory, recipe=TOY_RECIPE)
    assert_same_run(whole, directory)
