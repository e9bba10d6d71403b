"""What a process may use of its machine, and what is chosen by that."""

import os

import pytest
from toy_run import ToyConfig

from floqzoo.runs import RunConfig
from floqzoo.runs.configuration import usable_cores


@pytest.fixture
def cores(monkeypatch):
    """Lets the process have so many cores of eight, and `NPROC` say something."""

    def cores(affinity, reserved=None):
        monkeypatch.setattr(os, "cpu_count", lambda: 8)
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(affinity)))
        monkeypatch.delenv("NPROC", raising=False)
        if reserved is not None:
            monkeypatch.setenv("NPROC", reserved)

    return cores


@pytest.mark.parametrize(
    ("affinity", "reserved", "usable", "workers"),
    [
        (64, None, 64, 62),
        (8, None, 8, 6),
        (3, None, 3, 1),
        (1, None, 1, 0),
        (8, "1", 1, 0),
        (8, "5", 5, 3),
        (2, "5", 2, 0),
        (8, "all", 8, 6),
    ],
)
def test_workers_play_on_cores_that_are_left_over(cores, affinity, reserved, usable, workers):
    cores(affinity, reserved)
    assert usable_cores() == usable
    assert RunConfig(agent=ToyConfig(), env_name="line").eval_workers == workers


def test_where_a_process_has_no_affinity_the_machine_counts(cores, monkeypatch):
    cores(8, "5")
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_cores() == 3
