"""Evaluations beside training: the same rows as between updates, and nothing is lost."""

import json
import multiprocessing
import os
import signal
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from test_resume import LIVELY, assert_same_run, live
from toy_run import TOY_RECIPE, Line, ToyTask, new_run, toy_build, toy_config, toy_state, toy_task
from worlds import Failing, Gated

from floqzoo.training import prepared_run, read_metrics, resume, train
from floqzoo.training.metric_mean import MetricMean
from floqzoo.training.progress import ProgressReport
from floqzoo.training.run_store import RunStore
from floqzoo.training.stopwatch import Stopwatch


BESIDE = {"eval_workers": 2}

pytestmark = pytest.mark.usefixtures("toy_data")


def test_it_is_the_same_run(whole, tmp_path, capsys):
    directory = new_run(tmp_path / "run", **LIVELY, **BESIDE)
    result = resume(directory, recipe=TOY_RECIPE)
    assert_same_run(whole, directory)
    assert result.stopped_by is None
    assert not multiprocessing.active_children()
    rows = read_metrics(directory / "eval.csv")
    assert (rows["time/evaluation_time"] > 0).all()
    assert result.seconds.evaluation == pytest.approx(rows["time/evaluation_time"].sum())
    said = capsys.readouterr().err
    for step in (14, 28, 42):
        for seed in (5, 6):
            assert said.count(f"after {step} updates the policy of seed {seed} succeeds in") == 1


def test_killed_it_is_the_same_run(whole, tmp_path):
    """Real processes, killed by SIGKILL; their workers end with them."""
    uninterrupted = live(new_run(tmp_path / "timed", **LIVELY, **BESIDE), 10_000)
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    seconds = float(uninterrupted.stdout.split()[-1])
    assert_same_run(whole, tmp_path / "timed")
    directory = new_run(tmp_path / "killed", **LIVELY, **BESIDE)
    for share in (0.75, 0.9):
        process = live(directory, share * seconds)
        assert process.returncode in (0, -signal.SIGKILL), process.stderr
    process = live(directory, 10_000)
    assert process.returncode == 0, process.stderr
    assert_same_run(whole, directory)


class Signals(threading.Thread):
    """Sends a signal to this process once the evaluation of step 14 is under way, and does something else once the run
    says that it waits for it."""

    def __init__(self, gate: Path, waits: threading.Event, then):
        super().__init__(daemon=True)
        self.gate, self.waits, self.then = gate, waits, then

    def run(self):
        while not (self.gate / "waiting").exists():
            os.sched_yield()
        os.kill(os.getpid(), signal.SIGTERM)
        self.waits.wait()
        self.then()


@pytest.fixture
def gated(tmp_path, monkeypatch):
    """A run whose environments stand still until a file appears; its folder, that of the file, and whether it says that it
    waits for an evaluation."""
    waits, say = threading.Event(), ProgressReport.say

    def noted(progress, text):
        say(progress, text)
        if "is finished first" in text:
            waits.set()

    monkeypatch.setattr(ProgressReport, "say", noted)
    gate = tmp_path / "gate"
    gate.mkdir()
    task = ToyTask(toy_task().dataset, make_environment=partial(Gated, gate))
    monkeypatch.setattr(prepared_run, "load_task", lambda config: task)
    return new_run(tmp_path / "run", **LIVELY, **BESIDE), gate, waits


def test_stopped_it_finishes_the_evaluation_and_goes_on_as_the_same_run(whole, gated, capsys):
    """The checkpoint is written first; the row that came after it stays."""
    directory, gate, waits = gated
    Signals(gate, waits, (gate / "open").touch).start()
    result = resume(directory, recipe=TOY_RECIPE)
    assert (result.stopped_by, result.steps) == (signal.SIGTERM, 18)
    checkpoint = directory / "checkpoints" / "step_000000018"
    assert json.loads((checkpoint / "progress.json").read_text())["rows"]["eval.csv"] == 0
    np.testing.assert_array_equal(read_metrics(directory / "eval.csv")["step"], [14, 14])
    assert "the evaluation after 14 updates is finished first; interrupt again to give it up" in capsys.readouterr().err
    assert resume(directory, recipe=TOY_RECIPE).stopped_by is None
    assert_same_run(whole, directory)


def test_stopped_twice_it_gives_the_evaluation_up(gated, capsys):
    directory, gate, waits = gated
    Signals(gate, waits, partial(os.kill, os.getpid(), signal.SIGTERM)).start()
    result = resume(directory, recipe=TOY_RECIPE)
    assert (result.stopped_by, result.steps) == (signal.SIGTERM, 18)
    assert not (directory / "eval.csv").exists()
    assert "eval.csv has no row of step 14: its evaluation was given up" in capsys.readouterr().err
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("later", "kept"),
    [
        ({}, [14, 14]),
        ({28: (5, 6)}, [14, 14, 28, 28]),
        ({28: (5, 6), 30: (5, 6)}, [14, 14, 28, 28]),
        ({28: (5,)}, [14, 14]),
    ],
)
def test_rows_that_came_after_a_checkpoint_are_kept_by_their_step(tmp_path, later, kept):
    """All of an earlier step; not those of its own step, which is evaluated again, nor what a kill left of several seeds'."""
    store, state = RunStore(tmp_path, 3, False), toy_state(5, 6)
    row = {"evaluation/success": 0.5}
    store.write_evaluation(14, {5: row, 6: row})
    store.save(state, 30, MetricMean(), Stopwatch())
    for step, seeds in later.items():
        store.write_evaluation(step, dict.fromkeys(seeds, row))
    assert RunStore(tmp_path, 3, True).restore(state) is not None
    assert read_metrics(tmp_path / "eval.csv")["step"].tolist() == kept


def test_what_an_environment_raises_ends_the_run(tmp_path):
    task = ToyTask(toy_task().dataset, make_environment=partial(Failing, IndexError, "too far"))
    with pytest.raises(IndexError, match="too far"):
        train(toy_build, task, toy_config(**BESIDE), tmp_path)
    assert not multiprocessing.active_children()


def test_an_environment_that_cannot_go_to_a_process_is_refused_before_anything_begins(tmp_path):
    task = ToyTask(toy_task().dataset, make_environment=lambda: Line())
    with pytest.raises(ValueError, match=r"`make_environment` must be picklable .*`eval_workers=0`"):
        train(toy_build, task, toy_config(**BESIDE), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_checkpoint_of_an_evaluation_under_way_is_kept(tmp_path):
    """It may turn out to be the best."""
    store, state = RunStore(tmp_path, 1, False), toy_state(0)
    for step, awaited in ((1, None), (2, 2), (3, 2)):
        store.awaited = awaited
        store.save(state, step, MetricMean(), Stopwatch())
    assert store.checkpoint_steps == [2, 3]
    store.awaited = None
    store.write_evaluation(2, {0: {"evaluation/success": 0.5}})
    assert store.checkpoint_steps == [2, 3]
    store.write_evaluation(3, {0: {"evaluation/success": 0.6}})
    assert store.checkpoint_steps == [3]
