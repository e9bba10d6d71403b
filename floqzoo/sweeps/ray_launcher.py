"""Runs trials on Ray, on this machine or on a cluster."""

import logging
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from floqzoo.sweeps.attempt import Attempt, environment_of
from floqzoo.sweeps.ending import Ending, ending_of
from floqzoo.sweeps.sweep import Resources
from floqzoo.sweeps.trial import Trial


STOP_SECONDS = 120.0
"""The time in seconds that trials have to write their checkpoints after they are asked to stop."""
STORE_BYTES = 100_000_000
"""The size of Ray's object store in bytes. It can be small, because a sweep hardly uses it."""


class RayLauncher:
    """Runs trials as Ray tasks, each of which starts a separate process. Use it as a context manager.

    - `resources`: The resources of each trial.
    - `address`: The address of the cluster, as in `ray.init`; None starts Ray on this machine only.

    **Raises** `ModuleNotFoundError` if Ray is not installed, `ConnectionError` if there is no cluster at the address,
    and `ValueError` if the address is invalid, or if `address` is None and this machine lacks the resources for a
    trial.
    """

    def __init__(self, resources: Resources, address: str | None = None):
        self._ray = _import_ray()
        self.resources, self._running = resources, {}
        _connect(self._ray, address)
        self.nodes = [node for node in self._ray.nodes() if node["Alive"]]
        try:
            self.warning = _shortage(resources, self.nodes)
            if self.warning and address is None:
                raise ValueError(self.warning)
        except ValueError:
            self._ray.shutdown()
            raise
        memory = None if resources.memory_gb is None else int(resources.memory_gb * 1e9)
        self._task = self._ray.remote(_attempt_on_node).options(
            num_cpus=resources.cpu, num_gpus=resources.gpu, memory=memory, max_retries=0, scheduling_strategy="SPREAD"
        )

    def __enter__(self) -> "RayLauncher":
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def __str__(self) -> str:
        cpus = sum(node["Resources"].get("CPU", 0) for node in self.nodes)
        gpus = sum(node["Resources"].get("GPU", 0) for node in self.nodes)
        return f"{len(self.nodes)} machine{'s' * (len(self.nodes) != 1)}, {cpus:g} CPUs, {gpus:g} GPUs"

    def start(self, trial: Trial) -> None:
        """Queues a trial, which starts as soon as its resources are free."""
        environment = environment_of(self.resources)
        reference = self._task.remote(trial.directory, trial.words, environment, os.getcwd())
        self._running[reference] = trial

    def ended(self, seconds: float) -> Sequence[tuple[Trial, Ending]]:
        """Waits at most `seconds` seconds for a trial to end.

        Returns a list with this trial and its `Ending`, or an empty list if no trial has ended.
        """
        done, _ = self._ray.wait(list(self._running), timeout=seconds)
        return [(self._running.pop(reference), self._ending(reference)) for reference in done]

    def stop(self) -> None:
        """Asks all trials to stop, and waits at most `STOP_SECONDS` for them to write their checkpoints."""
        for reference in self._running:
            self._ray.cancel(reference)
        if self._running:
            self._ray.wait(list(self._running), num_returns=len(self._running), timeout=STOP_SECONDS)

    def _ending(self, reference: Any) -> Ending:
        errors = self._ray.exceptions
        try:
            return ending_of(self._ray.get(reference))
        except errors.RayTaskError as error:
            return Ending(done=False, reason=f"could not be started: {error.cause}", final=True)
        except errors.RayError as error:  # the machine or its Ray process is lost
            return Ending(done=False, reason=f"was lost ({type(error).__name__})")


def _attempt_on_node(directory: Path, words: Sequence[str], environment: Mapping[str, str], cwd: str) -> int:
    """Makes one attempt at a trial, as a Ray task, and returns its exit status."""
    import ray

    # A background command and its children ignore Ctrl-C, but Ray uses it to cancel tasks.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    node = ray.get_runtime_context().get_node_id()
    return Attempt(directory, words, environment, cwd).run(where=f"{socket.gethostname()}, node {node}")


def _import_ray() -> Any:
    # Disables Ray's usage reports, unless the user has set the variable.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would run trials at a low priority, as background work, if it starts on this machine.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # The environment of the trial decides which GPUs it can see.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a sweep needs Ray, which is not installed: pip install 'floqzoo[sweep]'. "
            "Without it, --dry_run prints the commands and --slurm submits them."
        ) from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        ray.init("local", include_dashboard=False, object_store_memory=STORE_BYTES, **quiet)
        return
    _require_reachable(address)
    try:
        ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConnectionError(f"cannot connect to a Ray cluster at {address!r}: {error}") from error


def _require_reachable(address: str) -> None:
    """Checks an address before Ray uses it, since Ray exits the process if there is no response."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdigit() or "/" in host:
        raise ValueError(f"`address` must be auto, or HOST:PORT; got {address!r}.")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ConnectionError(f"cannot connect to a Ray cluster at {address!r}: {error}") from error


def _shortage(resources: Resources, nodes: Sequence[Any]) -> str:
    """A message if no machine has enough resources for a trial; empty if one does."""
    memory = 0.0 if resources.memory_gb is None else resources.memory_gb * 1e9
    asked = {"CPU": float(resources.cpu), "GPU": resources.gpu, "memory": memory}
    needed = {name: amount for name, amount in asked.items() if amount}
    for node in nodes:
        if all(node["Resources"].get(name, 0) >= amount for name, amount in needed.items()):
            return ""
    most = {name: float(max((node["Resources"].get(name, 0) for node in nodes), default=0)) for name in needed}
    return (
        f"no machine has enough resources for a trial: `resources` require {_amounts(needed)}, and the machines have "
        f"at most {_amounts(most)}."
    )


def _amounts(amounts: Mapping[str, float]) -> str:
    words = {"CPU": (1.0, "CPUs"), "GPU": (1.0, "GPUs"), "memory": (1e9, "GB of memory")}
    return ", ".join(f"{amount / words[name][0]:.3g} {words[name][1]}" for name, amount in amounts.items())
