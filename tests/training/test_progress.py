import io

import pytest
from rich.console import Console

from floqzoo.training import progress as progress_module
from floqzoo.training.progress import ProgressReport


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


def test_elsewhere_than_on_a_terminal_a_line_now_and_then(clock):
    stream = io.StringIO()
    with ProgressReport("training", "updates", stream=stream) as progress:
        for step in range(0, 10_001, 100):
            progress.update(step, 10_000, "success 35 ± 7 %" if step == 5_000 else None)
            clock.now += 1
    # A line each 30 s, of 100 s, and one at the end.
    assert stream.getvalue().splitlines() == [
        "training: 3,000/10,000 updates, 100.0 updates/s, 1.2 min left",
        "training: 6,000/10,000 updates, 100.0 updates/s, 0.7 min left, success 35 ± 7 %",
        "training: 9,000/10,000 updates, 100.0 updates/s, 0.2 min left, success 35 ± 7 %",
        "training: 10,000/10,000 updates, 100.0 updates/s, success 35 ± 7 %",
    ]


def test_a_pause_is_not_slowness(clock):
    stream = io.StringIO()
    progress = ProgressReport("training", "updates", stream=stream)
    progress.update(0, 30)
    clock.now += 1000
    progress.restart_clock(0)
    clock.now += 10
    progress.update(20, 30)
    assert "2.0 updates/s" in stream.getvalue()


def test_on_a_terminal_a_bar(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(
        progress_module, "Console", lambda file, quiet: Console(file=file, quiet=quiet, force_terminal=True, width=120)
    )
    with ProgressReport("training", "updates", stream=stream) as progress:
        progress.update(0, 50)
        progress.update(20, 50, "success 35 ± 7 %")
        progress.say("after 20 updates the policy succeeds")
    text = stream.getvalue()
    assert "━" in text
    assert "20/50" in text
    assert "success 35 ± 7 %" in text
    assert "after 20 updates the policy succeeds" in text


def test_work_that_never_begins_shows_nothing():
    stream = io.StringIO()
    with ProgressReport("collecting", "episodes", stream=stream):
        pass
    assert stream.getvalue() == ""
