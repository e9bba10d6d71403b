"""Evaluations beside training: the same rows as between updates, and nothing is lost."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from test_resume import LIVELY, assert_same_run, assert_same_tables, change_flags, command, live
from toy_run import TOY_RECIPE, Line, ToyTask, new_run, toy_agents, toy_build, toy_config, toy_state, toy_task
from worlds import Failing, Gated

import floqzoo as fz
from floqzoo.learner.metric_mean import MetricMean
from floqzoo.runs import DamagedError, checkpoint_steps, read_metrics
from floqzoo.runs.run_directory import LOCK
from floqzoo.runs.run_store import AwaitedEvaluation, RunStore, Stopwatch
from floqzoo.training import prepared_run, resume, train
from floqzoo.training.progress import ProgressReport


BESIDE = {"eval_workers": 2}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("toy_data")]


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
    """Real processes, of which the first is killed by SIGKILL after its second evaluation began; its workers end with it."""
    directory = new_run(tmp_path / "killed", **LIVELY, **BESIDE)
    with subprocess.Popen(command(directory, 10_000), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        while killed.poll() is None and checkpoint_steps(directory / "checkpoints")[-1:] < [30]:
            time.sleep(0.001)
        killed.kill()
    assert killed.returncode in (0, -signal.SIGKILL)
    process = live(directory, 10_000)
    assert process.returncode == 0, process.stderr
    assert_same_run(whole, directory)


@pytest.fixture
def stopped(tmp_path, monkeypatch, capsys):
    """A run that was stopped after 18 updates, while the environments of the evaluation after 14 stood still; its folder,
    and the file that lets them go on."""
    gate = tmp_path / "gate"
    gate.mkdir()
    task = ToyTask(toy_task().dataset, make_environment=partial(Gated, gate))
    monkeypatch.setattr(prepared_run, "load_task", lambda config: task)
    directory = new_run(tmp_path / "run", **LIVELY, **BESIDE)
    with monkeypatch.context() as patched:
        patched.setattr(RunStore, "save", stopping_at_18(RunStore.save, gate / "waiting"))
        result = resume(directory, recipe=TOY_RECIPE)
    assert (result.stopped_by, result.steps) == (signal.SIGTERM, 18)
    assert (
        "the evaluation after 14 updates was cancelled; it is played again when the run resumes"
        in capsys.readouterr().err
    )
    return directory, gate / "open"


def stopping_at_18(save, waiting: Path):
    def save_and_stop(store, state, step, *arguments, **further):
        new = step not in store.checkpoint_steps
        save(store, state, step, *arguments, **further)
        if step == 18 and new:
            latest = time.monotonic() + 60
            while not waiting.exists():
                assert time.monotonic() < latest
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)

    return save_and_stop


def test_stopped_it_gives_the_evaluation_up_at_once_and_goes_on_as_the_same_run(whole, stopped):
    """The checkpoint has the agents that were evaluated, and they are evaluated again."""
    directory, opened = stopped
    assert not multiprocessing.active_children()
    assert not (directory / "eval.csv").exists()
    progress = json.loads((directory / "checkpoints" / "step_000000018" / "progress.json").read_text())
    assert (progress["rows"]["eval.csv"], progress["awaited"]) == (0, 14)
    opened.touch()
    assert resume(directory, recipe=TOY_RECIPE).stopped_by is None
    assert_same_run(whole, directory)


@pytest.mark.filterwarnings("ignore:the resumed run differs")
def test_an_evaluation_that_was_given_up_is_not_played_by_a_run_without_evaluations(stopped):
    directory, _ = stopped
    change_flags(directory, eval_episodes=0)
    assert resume(directory, recipe=TOY_RECIPE, allow_changes=True).stopped_by is None
    assert not (directory / "eval.csv").exists()


@pytest.mark.parametrize("later", [{}, {28: (5, 6)}, {28: (5, 6), 30: (5, 6)}, {28: (5,)}])
def test_rows_that_came_after_a_checkpoint_are_cut_and_what_was_awaited_comes_back(tmp_path, later):
    store, state = RunStore(tmp_path, 3, False), toy_state(5, 6)
    row = {"evaluation/success": 0.5}
    store.write_evaluation(14, {5: row, 6: row})
    earlier = toy_agents(7, 8)
    awaited = AwaitedEvaluation(28, earlier.parts)
    store.save(state, 30, MetricMean(), Stopwatch(), awaited=awaited)
    for step, seeds in later.items():
        store.write_evaluation(step, dict.fromkeys(seeds, row))
    store = RunStore(tmp_path, 3, True)
    assert store.restore(state) is not None
    assert read_metrics(tmp_path / "eval.csv")["step"].tolist() == [14, 14]
    restored = store.restore_awaited(30, state.agents)
    assert restored.step == 28
    for ours, theirs in zip(jax.tree.leaves(restored), jax.tree.leaves(awaited), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_checkpoint_without_an_evaluation_under_way_awaits_none(tmp_path):
    store, state = RunStore(tmp_path, 3, False), toy_state(5)
    store.save(state, 30, MetricMean(), Stopwatch())
    assert store.restore_awaited(30, state.agents) is None


def test_agents_of_another_make_are_not_awaited(tmp_path):
    store, state = RunStore(tmp_path, 3, False), toy_state(5)
    store.save(
        state, 30, MetricMean(), Stopwatch(), awaited=AwaitedEvaluation(28, fz.ActorCritic(None, {"x": np.ones(2)}))
    )
    with pytest.raises(DamagedError, match="step_000000030"):
        store.restore_awaited(30, state.agents)


def test_what_an_environment_raises_ends_the_run(tmp_path):
    task = ToyTask(toy_task().dataset, make_environment=partial(Failing, IndexError, "too far"))
    with pytest.raises(IndexError, match="too far") as raised:
        train(toy_build, task, toy_config(**BESIDE), tmp_path)
    assert not multiprocessing.active_children()
    assert "continue with the same call and `resumed=True`" in raised.value.__notes__[-1]


@pytest.mark.parametrize("beside", [{}, BESIDE])
def test_what_an_environment_raises_costs_no_update(whole, tmp_path, monkeypatch, beside):
    """The updates until then are in a checkpoint, and so are the agents that were evaluated."""
    directory = new_run(tmp_path / "run", **LIVELY, **beside)
    broken = ToyTask(toy_task().dataset, make_environment=partial(Failing, IndexError, "too far"))
    monkeypatch.setattr(prepared_run, "load_task", lambda config: broken)
    with pytest.raises(IndexError, match="too far"):
        resume(directory, recipe=TOY_RECIPE)
    kept = checkpoint_steps(directory / "checkpoints")[-1]
    assert kept >= 14
    monkeypatch.setattr(prepared_run, "load_task", lambda config: toy_task())
    assert resume(directory, recipe=TOY_RECIPE).stopped_by is None
    assert_same_tables(whole, directory)


@pytest.mark.parametrize("beside", [{}, BESIDE])
def test_a_signal_whose_exception_is_lost_ends_the_wait_for_an_evaluation(tmp_path, monkeypatch, beside):
    """As in a destructor, or in a callback of the garbage collector; the wait would last as long as the evaluation."""
    update = ProgressReport.update

    def losing_a_signal(report, step, total, note=None):
        update(report, step, total, note)
        if note is not None and note.startswith("evaluating"):
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(ProgressReport, "update", losing_a_signal)
    (tmp_path / "gate").mkdir()
    environment = partial(Gated, tmp_path / "gate") if beside else Line
    task = ToyTask(toy_task().dataset, make_environment=environment)
    result = train(toy_build, task, toy_config(offline_steps=14, eval_interval=14, **beside), tmp_path / "run")
    assert result.stopped_by == signal.SIGTERM
    assert not (tmp_path / "run" / "eval.csv").exists()


def test_an_environment_that_cannot_go_to_a_process_is_refused_before_anything_begins(tmp_path):
    task = ToyTask(toy_task().dataset, make_environment=lambda: Line())
    with pytest.raises(ValueError, match=r"`make_environment` must be picklable .*`eval_workers=0`"):
        train(toy_build, task, toy_config(**BESIDE), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


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
