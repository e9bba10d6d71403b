"""Two processes train one run, as they would on two hosts."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from forced_devices import forced_devices
from toy_run import toy_state

from floqzoo.learner.devices import agreed, join_processes
from floqzoo.runs import read_metrics, restore_checkpoint


pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def start(words: tuple[str, ...], devices: int, **environment: str) -> subprocess.Popen:
    command = [sys.executable, str(Path(__file__).with_name("toy_process.py")), *words]
    variables = os.environ | forced_devices(devices) | environment
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start_two(*words: str) -> list[subprocess.Popen]:
    """Two processes of two devices each."""
    common = {"JAX_COORDINATOR_ADDRESS": f"localhost:{free_port()}", "JAX_NUM_PROCESSES": "2"}
    return [start(words, 2, **common, JAX_PROCESS_ID=str(number)) for number in range(2)]


def ended(processes: list[subprocess.Popen], status: int) -> list[str]:
    """Waits for them; what each has printed from Python."""
    try:
        printed = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert {process.returncode for process in processes} == {status}, printed
    return [out for out, _ in printed]


def run_of(directory: Path) -> Path:
    (found,) = directory.glob("floqzoo/debug/*")
    return found


def assert_same_run(one: Path, other: Path, seeds: int, **tolerance) -> None:
    for log in ("train.csv", "eval.csv"):
        ours, theirs = read_metrics(one / log), read_metrics(other / log)
        for name in (name for name in ours if not name.startswith("time/")):
            np.testing.assert_allclose(ours[name], theirs[name], err_msg=name, **tolerance)
    one, other = (restore_checkpoint(run / "checkpoints", toy_state(*range(seeds))).tree for run in (one, other))
    for ours, theirs in zip(jax.tree.leaves(one.agents), jax.tree.leaves(other.agents), strict=True):
        np.testing.assert_allclose(ours, theirs, **tolerance)


def test_a_run_of_two_processes_is_that_of_one_with_all_the_devices(tmp_path):
    """But for how sums are rounded, since the devices of both processes share the batch of one seed."""
    seeds, tolerance = 1, {"rtol": 1e-5, "atol": 1e-6}
    both, one = tmp_path / "both", tmp_path / "one"
    printed = ended(start_two(f"--seeds={seeds}", f"--save_dir={both}"), 0)
    assert "run directory" in printed[0]
    assert not printed[1]
    ended([start((f"--seeds={seeds}", f"--save_dir={one}"), 4)], 0)
    assert_same_run(run_of(both), run_of(one), seeds, **tolerance)


def test_a_signal_to_one_stops_both_and_they_go_on_together(tmp_path):
    words = ["--seeds=2", "--offline_steps=312000", "--save_interval=0", "--eval_episodes=0", f"--save_dir={tmp_path}"]
    processes = start_two(*words)
    while not list(tmp_path.glob("floqzoo/debug/*/train.csv")):
        assert all(process.poll() is None for process in processes), ended(processes, 0)
        time.sleep(0.1)
    processes[1].send_signal(signal.SIGTERM)
    ended(processes, 128 + signal.SIGTERM)
    run = run_of(tmp_path)
    (checkpoint,) = (run / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step_"))
    flags = run / "flags.json"
    flags.write_text(flags.read_text().replace("312000", str(step + 20)))
    ended(start_two("resume", str(run)), 0)
    assert read_metrics(run / "train.csv")["step"][-1] == step + 20


def test_alone_a_process_agrees_with_itself_and_joins_nobody():
    join_processes()
    assert agreed(3) == 3
    assert jax.process_count() == 1


def test_a_number_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(ValueError, match="JAX_NUM_PROCESSES must be a number; got 'two'"):
        join_processes()
