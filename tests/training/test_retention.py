import math

from hypothesis import given, strategies as st

from floqzoo.runs.checkpoint import checkpoint_folder, checkpoint_steps, remove_others, steps_to_keep


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
