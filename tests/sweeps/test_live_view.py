"""What is shown of a sweep under way."""

import io
import re
import threading

import pytest

from floqzoo.runs import MetricLog
from floqzoo.sweeps import live_view
from floqzoo.sweeps.live_view import LiveView, Progress, _duration, seconds_left
from floqzoo.sweeps.trial_state import logged_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def begin(trial, step, seconds):
    """As if a trial had been started, and had logged so much."""
    trial.directory.mkdir(parents=True, exist_ok=True)
    (trial.directory / "log.txt").write_text("== started\n")
    MetricLog(trial.directory / "train.csv").write(step, {0: {"time/total_time": seconds}})


@pytest.fixture
def under_way(toy_sweep):
    """Three trials of a hundred updates: one was finished before, one is half done, one waits."""
    trials = toy_sweep(fields="agent.batch_size: [4, 8, 16], offline_steps: 100").trials

    def under_way(stream):
        view = LiveView(trials, trials[1:], stream=stream)
        begin(trials[1], 50, 100.0)
        return trials, view

    return under_way


def test_a_plain_line_where_there_is_no_terminal(under_way):
    stream = io.StringIO()
    trials, view = under_way(stream)
    with view:
        view.look(trials[1:], now=True)
        view.say("finished: [one]")
        view.look(trials[1:])  # Too soon for another line.
    assert stream.getvalue().splitlines() == [
        "3 trials: 1 finished, 1 running, 1 waiting, 0 failed, 50% of the steps, 5 min left",
        "finished: [one]",
    ]


def test_a_trial_without_a_step_tells_what_it_is_at(under_way):
    stream = io.StringIO()
    trials, view = under_way(stream)
    trials[2].directory.mkdir(parents=True)
    (trials[2].directory / "log.txt").write_text("== started\ncollecting: 3 of 10 [episodes]\n\n")
    view.look(trials[1:], now=True)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("3 trials: 1 finished, 2 running, 0 waiting")
    assert second == "collecting: 3 of 10 [episodes]"


def test_a_table_on_a_terminal(under_way, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    trials, view = under_way(stream)
    begin(trials[2], 0, 0.0)
    (trials[2].directory / "log.txt").write_text("no [markup]\n")
    with view:
        view.look(trials[1:], now=True)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    rows = {words[1]: words[2:8] for words in map(str.split, text.splitlines()) if words[:1] == ["toy"]}
    assert rows == {
        "batch_size=4": ["1", "1", "0", "0", "0", "100%"],
        "batch_size=8": ["1", "0", "1", "0", "0", "50%"],
        "batch_size=16": ["1", "0", "1", "0", "0", "0%"],
    }
    assert "no [markup]" in text
    assert "3 min left" in text


def test_the_table_changes_only_when_the_sweep_looks(under_way, monkeypatch):
    """No thread redraws it in between."""
    monkeypatch.setenv("TERM", "xterm")
    trials, view = under_way(Terminal())
    threads = threading.active_count()
    with view:
        view.look(trials[1:], now=True)
        assert threading.active_count() == threads


def test_progress_is_read_when_asked_or_when_it_was_not_read_for_a_while(under_way, monkeypatch):
    clock, reads = [0.0], []
    monkeypatch.setattr(live_view.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(live_view, "logged_progress", lambda directory: reads.append(clock[0]) or (0, 0.0))
    trials, view = under_way(io.StringIO())
    short, long = live_view.LOOK_SECONDS / 2, live_view.LOOK_SECONDS
    for clock[0], now in [(0.0, False), (short, False), (short, True), (long, False), (short + long, False)]:
        view.look(trials[1:], now=now)
    assert reads == [time for time in (0.0, short, short + long) for _ in trials[1:]]


def test_the_progress_of_a_trial_is_that_of_its_last_row(toy_sweep):
    trial = toy_sweep().trials[0]
    assert logged_progress(trial.directory) == (0, 0.0)
    for step, seconds in ((20, 50.0), (30, 70.0), (60, 190.0)):
        begin(trial, step, seconds)
        assert logged_progress(trial.directory) == (step, seconds)


def test_a_trial_that_ended_early_has_failed(under_way):
    stream = io.StringIO()
    _, view = under_way(stream)
    view.look([], now=True)
    assert "1 finished, 0 running, 0 waiting, 2 failed" in stream.getvalue()


def test_the_time_left_is_the_work_left_over_what_runs_at_once(toy_sweep):
    fast, slow, other = toy_sweep().trials
    running = {fast: Progress(50, 100, 50.0, "running"), slow: Progress(50, 100, 500.0, "running")}
    assert seconds_left(running) == 500  # The slow one alone: no two of them share a trial.
    waiting = {**running, other: Progress(0, 100, 0.0, "waiting")}
    assert seconds_left(waiting) == (50 + 500 + 100 * (1 + 10) / 2) / 2
    assert seconds_left({other: Progress(0, 100, 0.0, "waiting")}) is None
    assert seconds_left({fast: Progress(100, 100, 5.0, "finished")}) == 0


@pytest.mark.parametrize(
    ("minutes", "text"), [(0, "0 min"), (89, "89 min"), (90, "2 h"), (71 * 60, "71 h"), (72 * 60, "3 days")]
)
def test_a_duration_has_the_unit_of_its_size(minutes, text):
    assert _duration(60 * minutes) == text
