"""The seeds of a run, or its batches, are shared among the devices of a machine; here they are forced on a processor."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from forced_devices import forced_devices
from toy_run import toy_build, toy_config, toy_state, toy_task

from floqzoo.runs import read_metrics, restore_checkpoint
from floqzoo.training import train


pytestmark = pytest.mark.slow


def on_four_devices(program: str, *words: str, **environment: str) -> str:
    """The last line that a program prints in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name(program)), *words]
    variables = os.environ | forced_devices(4) | environment
    process = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=600, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()[-1]


def assert_same_run(one: Path, other: Path, seeds: int) -> None:
    ours, theirs = read_metrics(one / "train.csv"), read_metrics(other / "train.csv")
    for name in (name for name in ours if not name.startswith("time/")):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, err_msg=name)
    one, other = (restore_checkpoint(run / "checkpoints", toy_state(*range(seeds))).tree.agents for run in (one, other))
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


ONLINE = {"online_steps": 20, "online_environments": 5, "utd_ratio": 2, "buffer_size": 220}


@pytest.mark.parametrize(
    ("seeds", "devices", "further"),
    [(6, 3, {}), (1, 4, ONLINE | {"balanced_sampling": True})],
)
def test_a_run_on_several_devices_is_the_run_on_one(tmp_path, seeds, devices, further):
    for name in ("several", "one"):
        (tmp_path / name).mkdir()
    settings = {"seeds": seeds, "save_interval": 5, "log_interval": 5, "eval_interval": 0} | further
    used = on_four_devices("four_devices.py", str(tmp_path / "several"), json.dumps(settings))
    assert used == f"devices {devices}"
    config = toy_config(**settings)
    train(toy_build, toy_task(), config, tmp_path / "one")
    assert_same_run(tmp_path / "several", tmp_path / "one", seeds)
    # And from a checkpoint that several devices wrote, one goes on.
    shutil.rmtree(tmp_path / "several" / "checkpoints" / f"step_{config.total_steps:09d}")
    train(toy_build, toy_task(), config, tmp_path / "several", resumed=True)
    assert_same_run(tmp_path / "several", tmp_path / "one", seeds)


def test_devices_that_share_a_batch_do_what_one_does():
    """Sums over a batch are added up in another order: in float64 a few thousand roundings of 1e-16 each. And no device
    has the whole batch: it does its share of the operations, beside the optimiser's, which each does in full."""
    cases = json.loads(on_four_devices("shared_batch.py", JAX_ENABLE_X64="1"))
    assert [(case["method"], case["mesh"]) for case in cases] == [
        ("floq", [1, 4]),
        ("fql", [2, 2]),
        ("fql", [1, 4]),
    ]
    for case in cases:
        assert case["difference"] < 1e-12, case
        assert case["share"] < 1.2 / case["mesh"][1], case
