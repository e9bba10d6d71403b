"""The seeds of a run are shared among the devices of a machine; here they are forced on a processor."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from toy_run import toy_build, toy_config, toy_state, toy_task

from floqzoo.training import read_metrics, restore_checkpoint, train


def on_four_devices(directory: Path, seeds: int) -> int:
    """Trains in a process of its own; how many devices were used."""
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(Path(__file__).with_name("four_devices.py")), str(directory), str(seeds)]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert process.returncode == 0, process.stderr
    return int(process.stdout.split()[-1])


def assert_same_run(one: Path, other: Path, seeds: int) -> None:
    ours, theirs = read_metrics(one / "train.csv"), read_metrics(other / "train.csv")
    for name in ours.keys() - {"time/epoch_time", "time/total_time"}:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, err_msg=name)
    one, other = (restore_checkpoint(run / "checkpoints", toy_state(*range(seeds))).tree.agents for run in (one, other))
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("seeds", "devices"), [(4, 4), (6, 3)])
def test_a_run_on_several_devices_is_the_run_on_one(tmp_path, seeds, devices):
    for name in ("several", "one"):
        (tmp_path / name).mkdir()
    assert on_four_devices(tmp_path / "several", seeds) == devices
    train(toy_build, toy_task(), toy_config(seeds=seeds, save_interval=5, eval_interval=0), tmp_path / "one")
    assert_same_run(tmp_path / "several", tmp_path / "one", seeds)
    # And from a checkpoint that several devices wrote, one goes on.
    shutil.rmtree(tmp_path / "several" / "checkpoints" / "step_000000020")
    config = toy_config(seeds=seeds, save_interval=5, eval_interval=0)
    train(toy_build, toy_task(), config, tmp_path / "several", resumed=True)
    assert_same_run(tmp_path / "several", tmp_path / "one", seeds)
