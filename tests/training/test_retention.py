import math
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from floqzoo.runs.checkpoint import checkpoint_folder, checkpoint_steps, remove_others, steps_to_keep
from floqzoo.runs.run_store import RunStore


STEPS = st.lists(st.integers(0, 10**9), unique=True, max_size=8)


@given(STEPS, st.dictionaries(st.integers(0, 10**9), st.floats(0, 1)), st.integers(1, 4), st.data())
def test_the_latest_and_the_best_are_kept_and_nothing_else(steps, elsewhere, latest, data):
    evaluated = data.draw(st.dictionaries(st.sampled_from(steps), st.floats(0, 1)) if steps else st.just({}))
    kept = steps_to_keep(steps, elsewhere | evaluated, latest)
    assert kept <= set(steps)
    assert set(sorted(steps)[-latest:]) <= kept
    assert len(kept) <= latest + 1
    here = {step: rate for step, rate in (elsewhere | evaluated).items() if step in steps}
    if here:
        best = max(here.values())
        assert max(step for step, rate in here.items() if rate == best) in kept


def test_a_rate_that_is_not_known_is_not_the_best():
    assert steps_to_keep([1, 2, 3], {1: math.nan, 2: 0.0}, 1) == {2, 3}


METRICS = ("evaluation/success", "evaluation/episode.return", "evaluation/episode.length", "diagnostics/curvature")


@pytest.mark.parametrize("best_metric", [*METRICS, None])
@given(table=arrays(float, st.tuples(st.integers(1, 4), st.just(2), st.just(len(METRICS))), elements=st.floats(-9, 9)))
@settings(max_examples=15)
def test_the_best_is_that_of_the_named_metric(best_metric, table):
    """By its mean over seeds; the later of two that are equal."""
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder), keep=1, resumed=False, best_metric=best_metric)
        for step, rows in enumerate(table):
            checkpoint_folder(store.checkpoints, step).mkdir(parents=True)
            store.write_evaluation(step, {seed: dict(zip(METRICS, row, strict=True)) for seed, row in enumerate(rows)})
        again = RunStore(Path(folder), keep=1, resumed=True, best_metric=best_metric)
        score = table[:, :, METRICS.index(best_metric or "evaluation/success")].mean(axis=1)
        assert again.scores == store.scores == pytest.approx(dict(enumerate(score)))
        kept = set(checkpoint_steps(store.checkpoints))
    assert kept == {len(table) - 1, max(range(len(table)), key=lambda step: (store.scores[step], step))}


@given(keep=st.integers(1, 4), written=st.integers(0, 5), size=st.integers(1, 10**9))
def test_a_run_needs_space_for_the_latest_the_best_and_the_checkpoint_being_written(keep, written, size):
    """Those that are written already need no more."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        store = RunStore(Path(folder), keep=keep, resumed=False)
        for step in range(written):
            checkpoint_folder(store.checkpoints, step).mkdir(parents=True)
        needed = (max(keep - written, 0) + 2) * size
        patch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=needed))
        store.require_space(size)
        patch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=needed - 1))
        with pytest.raises(OSError, match="Free some space"):
            store.require_space(size)


def test_the_others_are_removed_and_what_a_kill_left(tmp_path):
    for step in (1, 2, 3):
        folder = checkpoint_folder(tmp_path, step)
        folder.mkdir()
        (folder / "array").write_text("numbers")
    (tmp_path / ".step_000000000.removed").mkdir()
    (tmp_path / ".step_000000004.partial").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    remove_others(tmp_path, {1, 3})
    assert checkpoint_steps(tmp_path) == [1, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "step_000000001", "step_000000003"]
