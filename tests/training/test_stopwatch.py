"""A stopwatch adds the durations of the blocks that it measures, those that raise included."""

import dataclasses

import pytest
from hypothesis import given, strategies as st

from floqzoo.runs import run_store
from floqzoo.runs.run_store import Stopwatch


PARTS = [field.name for field in dataclasses.fields(Stopwatch)]
blocks = st.lists(st.tuples(st.sampled_from(PARTS), st.floats(0, 1e4), st.booleans()), max_size=8)


@given(blocks, st.floats(0, 1e6))
def test_durations_add_up(blocks, now):
    class Clock:
        def monotonic(self):
            return now

    watch, expected = Stopwatch(), dict.fromkeys(PARTS, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_store, "time", Clock())
        for part, seconds, fails in blocks:
            try:
                with watch.measure(part):
                    now += seconds
                    if fails:
                        raise ValueError
            except ValueError:
                assert fails
            expected[part] += seconds
    assert dataclasses.asdict(watch) == pytest.approx(expected, abs=1e-6)
