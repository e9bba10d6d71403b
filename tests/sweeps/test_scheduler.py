"""What is started again, and what is not, with a launcher that obeys a script."""

import signal

import pytest

from floqzoo.sweeps.ending import NO_DATA, UNEXPECTED, Ending, ending_of
from floqzoo.sweeps.scheduler import run_trials


class Scripted:
    """Attempts end as scripted, in the order of their starts; one at a time."""

    def __init__(self, **endings):
        self.endings, self.started, self.waiting, self.stopped = endings, [], [], False

    def start(self, trial):
        self.started.append(trial.method)
        self.waiting.append(trial)

    def ended(self, seconds):
        trial = self.waiting.pop(0)
        ending = self.endings[trial.method].pop(0)
        if isinstance(ending, BaseException):
            raise ending
        return [(trial, ending)]

    def stop(self):
        self.stopped = True


@pytest.fixture
def trials(toy_sweep):
    """Three, called a, b and c."""
    from dataclasses import replace

    return [replace(trial, method=name) for trial, name in zip(toy_sweep().trials, "abc", strict=True)]


def run(trials, launcher, restarts=1):
    said, seen = [], []
    failures = run_trials(
        trials, launcher, restarts=restarts, say=said.append, look=lambda left: seen.append(len(left))
    )
    assert seen == sorted(seen, reverse=True) and seen[-1] == 0
    return failures, said


DONE, LOST, WRONG = Ending(True), Ending(False, "was lost"), Ending(False, "ended with status 1", final=True)


def test_what_is_lost_starts_again_and_what_is_wrong_does_not(trials):
    launcher = Scripted(a=[LOST, DONE], b=[WRONG], c=[DONE])
    failures, said = run(trials, launcher)
    assert launcher.started == ["a", "b", "c", "a"]
    assert [(failure.trial.method, failure.reason) for failure in failures] == [("b", "ended with status 1")]
    assert [line.split(",")[0].split(":")[0] for line in said] == ["restarts", "failed", "finished", "finished"]


def test_a_trial_starts_again_so_often_and_not_oftener(trials):
    launcher = Scripted(a=[LOST] * 3, b=[LOST, LOST, DONE], c=[DONE])
    failures, _ = run(trials, launcher, restarts=2)
    assert [failure.trial.method for failure in failures] == ["a"]
    assert sorted(launcher.started) == ["a", "a", "a", "b", "b", "b", "c"]


def test_ctrl_c_stops_all(trials):
    launcher = Scripted(a=[DONE], b=[KeyboardInterrupt()], c=[DONE])
    with pytest.raises(KeyboardInterrupt):
        run(trials, launcher)
    assert launcher.stopped


@pytest.mark.parametrize(
    ("status", "done", "final", "reason"),
    [
        (0, True, False, ""),
        (1, False, True, "ended with status 1"),
        (2, False, True, "ended with status 2"),
        (NO_DATA, False, False, "could not download its data"),
        (UNEXPECTED, False, False, "died with status 70"),
        (-signal.SIGKILL, False, False, "was ended by SIGKILL"),
        (128 + signal.SIGTERM, False, False, "was ended by SIGTERM"),
        (130, False, False, "was ended by SIGINT"),
    ],
)
def test_what_a_status_says(status, done, final, reason):
    assert ending_of(status) == Ending(done, reason, final)
