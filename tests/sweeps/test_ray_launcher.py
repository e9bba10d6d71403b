"""A sweep on a real Ray cluster of two nodes, one of which is killed while both train."""

import json
import os
import threading
import time
from types import SimpleNamespace

import pytest

from floqzoo.runs import checkpoint_steps
from floqzoo.sweeps import Resources, run_sweep, run_trial, unfinished_trials
from floqzoo.sweeps.ray_launcher import RayLauncher, _shortage


ray = pytest.importorskip("ray")
# Ray forks to start its programs, which do not use what JAX has in this process.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(r"ignore:os.fork\(\) was called:RuntimeWarning")]
SLOW = {
    "fields": "agent.batch_size: [4, 8], offline_steps: 30, save_interval: 10, eval_interval: 15, eval_workers: 0",
    "recipe": "slow_recipe.py",
}


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core each on this machine; the driver is connected to the first."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    from ray.cluster_utils import Cluster

    args = {"num_cpus": 1, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**args, "include_dashboard": False})
    cluster.add_node(**args)
    yield cluster
    cluster.shutdown()


class Killer(threading.Thread):
    """Kills a node as soon as a trial on it has a checkpoint."""

    def __init__(self, cluster, sweep):
        super().__init__(daemon=True)
        self.cluster, self.sweep, self.victim = cluster, sweep, None
        self.node = cluster.worker_nodes.copy().pop()

    def run(self):
        while self.victim is None:
            for trial in self.sweep.trials:
                if self.node.node_id in log(trial) and checkpoint_steps(trial.directory / "checkpoints"):
                    self.victim = trial
                    self.cluster.remove_node(self.node, allow_graceful=False)
                    return
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("address", "error", "says"),
    [
        ("127.0.0.1:1", ConnectionError, "cannot connect to a Ray cluster at '127.0.0.1:1': .*refused"),
        ("head", ValueError, "`address` must be auto, or HOST:PORT; got 'head'"),
        ("ray://head:10001", ValueError, "`address` must be auto, or HOST:PORT"),
    ],
)
def test_an_address_without_a_cluster_is_refused(address, error, says):
    with pytest.raises(error, match=says):
        RayLauncher(Resources(), address)


def test_what_no_machine_has_is_told():
    small, big = ({"Resources": {"CPU": cpus, "GPU": gpus, "memory": 8e9}} for cpus, gpus in ((8.0, 0.0), (2.0, 1.0)))
    assert _shortage(Resources(cpu=8, memory_gb=8.0), [small, big]) == ""
    assert _shortage(Resources(cpu=2, gpu=0.25), [small, big]) == ""
    said = _shortage(Resources(cpu=4, gpu=0.5), [small, big])  # Each is there, but not on one machine.
    assert "4 CPUs, 0.5 GPUs, and the machines have at most 8 CPUs, 1 GPUs" in said


def test_ray_is_asked_for_what_a_trial_needs_of_the_machines_that_are_alive(monkeypatch):
    asked = {}
    task = SimpleNamespace(options=lambda **options: asked.update(options))
    nodes = [
        {"Alive": alive, "Resources": resources}
        for alive, resources in ((True, {"CPU": 8.0, "memory": 64e9}), (True, {"GPU": 1.0}), (False, {"CPU": 4.0}))
    ]
    local = SimpleNamespace(init=lambda *_, **__: None, nodes=lambda: nodes, remote=lambda _: task)
    monkeypatch.setattr("floqzoo.sweeps.ray_launcher._import_ray", lambda: local)
    launcher = RayLauncher(Resources(cpu=2, memory_gb=16.0))
    assert [asked[name] for name in ("num_cpus", "num_gpus", "memory")] == [2, 0, 16_000_000_000]
    assert str(launcher) == "2 machines, 8 CPUs, 1 GPUs"


def log(trial):
    path = trial.directory / "log.txt"
    return path.read_text() if path.exists() else ""


def starts(trial):
    return [line for line in log(trial).splitlines() if line.startswith("== started")]


def earlier(trial):
    return json.loads((trial.directory / "machine.json").read_text()).get("earlier", [])


def test_a_sweep_that_loses_a_node_is_the_sweep_that_lost_none(cluster, toy_sweep, assert_same_numbers, monkeypatch):
    undisturbed, disturbed = toy_sweep("undisturbed", **SLOW), toy_sweep("disturbed", **SLOW)
    for trial in undisturbed.trials:
        run_trial.main(trial.words)
    killer = Killer(cluster, disturbed)
    killer.start()
    assert run_sweep(disturbed, address=cluster.address) == []
    killer.join(timeout=60)
    assert unfinished_trials(undisturbed) == unfinished_trials(disturbed) == []
    for trial, twin in zip(disturbed.trials, undisturbed.trials, strict=True):
        assert_same_numbers(trial.directory, twin.directory)
        assert len(starts(trial)) == (2 if trial is killer.victim else 1)
    first, second = starts(killer.victim)
    assert killer.node.node_id in first and killer.node.node_id not in second
    assert len(earlier(killer.victim)) == 1
    resumed = [line for line in log(killer.victim).splitlines() if line.startswith("resumes after")]
    assert len(resumed) == 1 and int(resumed[0].split()[2]) >= 10

    monkeypatch.setattr("floqzoo.sweeps.launcher.RayLauncher", None)  # There is nothing left to run.
    assert run_sweep(disturbed) == []
    assert sum(len(starts(trial)) for trial in disturbed.trials) == len(disturbed.trials) + 1
    for name in ("comparison.md", "comparison.csv", "curves.png"):
        assert (disturbed.folder / name).is_file()
