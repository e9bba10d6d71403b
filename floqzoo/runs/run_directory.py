"""Creates run directories, locks them during training, and records the code, machine, data and settings of a run."""

import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from floqzoo._version import __version__
from floqzoo.runs.configuration import RunConfig
from floqzoo.tasks.files import read_json, remove_leftovers, write_json


FORMAT = 3
"""The version of the run format, which covers the files, settings and checkpoint arrays of a run directory. It changes
only when older runs can no longer be read."""
PACKAGES = ("jax", "jaxlib", "equinox", "optax", "diffrax", "numpy", "ogbench", "mujoco", "gymnasium")


class CannotStartError(OSError):
    """Raised if a run cannot start for an external reason, such as a missing login, no network or a full disk."""


def claim_directory(path: Path) -> Path:
    """Creates a new folder for a run, and returns its path.

    **Raises** `FileExistsError` if `path` exists already.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir()
    except FileExistsError:
        raise FileExistsError(f"{path} exists already, and a run is never overwritten; choose another path.") from None
    return path


def new_run_directory(save_dir: str, run_group: str, method: str, seed: int, seeds: int = 1) -> Path:
    """Creates the folder `save_dir/floqzoo/run_group/<method>_sd<seed>_<date>_<time>`, and returns its path.

    If the folder exists already, its name gets a numeric suffix. With several seeds, the name contains the first and
    the last one, as in `floq_sd000-007_<date>_<time>`.

    **Raises** `OSError` if the folder cannot be created.
    """
    group = Path(save_dir).expanduser() / "floqzoo" / run_group
    method = re.sub(r"[^\w.-]+", "-", method)
    last = f"-{seed + seeds - 1:03d}" if seeds > 1 else ""
    name = f"{method}_sd{seed:03d}{last}_{datetime.now():%Y%m%d_%H%M%S}"
    try:
        return _first_free(group, name)
    except OSError as error:
        raise type(error)(f"no run can be written to {group}: {error}. Choose another `save_dir`.") from error


def _first_free(group: Path, name: str) -> Path:
    number = 1
    while True:
        try:
            return claim_directory(group / (name if number == 1 else f"{name}_{number}"))
        except FileExistsError:
            number += 1


def record_machine(directory: Path) -> None:
    """Writes `machine.json`, which describes the command, the code, the libraries and the machine of the run."""
    write_json(directory / "machine.json", describe_machine())


def record_resumption(directory: Path) -> None:
    """Rewrites `machine.json` when a run resumes; the previous contents are appended to the list `earlier` in it."""
    machine = read_json(directory / "machine.json")
    earlier = machine.pop("earlier", [])
    write_json(directory / "machine.json", {**describe_machine(), "earlier": [*earlier, machine]})


def describe_machine() -> dict[str, Any]:
    """Returns the contents of `machine.json`: the command, the code, the libraries and the machine."""
    import jax

    device = jax.devices()[0]
    return {
        "command": shlex.join([sys.executable, *sys.argv]),
        "working_directory": str(Path.cwd()),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "format": FORMAT,
        "floqzoo": __version__,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "device_kind": device.device_kind,
        "device_platform": device.platform,
        "device_count": jax.device_count(),
    }


def record_data(directory: Path, task: Any) -> None:
    """Writes `data.json`, which describes the dataset and the task of the run."""
    write_json(directory / "data.json", describe_data(task))


def describe_data(task: Any) -> dict[str, Any]:
    """Returns the contents of `data.json`: a description of the dataset and the task."""
    facts = {
        "transitions": int(task.dataset.size),
        "reward_range": [float(bound) for bound in task.reward_range],
        "observation_dim": task.observation_dim,
        "action_dim": task.action_dim,
    }
    return {**task.describe(), **facts}


def record_flags(directory: Path, recipe: str, config: RunConfig) -> None:
    """Writes `flags.json`, which contains the name of the recipe and every setting of the run."""
    write_json(directory / "flags.json", {"recipe": recipe, **asdict(config)})


def record_phases(directory: Path, starts: Mapping[str, int]) -> None:
    """Writes `phases.json`, which contains the step at which each training phase starts, if there are phases."""
    if starts:
        write_json(directory / "phases.json", dict(starts))


def read_phases(directory: Path) -> dict[str, int]:
    """Reads the step at which each training phase starts, by phase name; empty for a run without phases."""
    path = directory / "phases.json"
    return read_json(path) if path.exists() else {}


def discard(directory: Path) -> None:
    """Removes the files of a run that could not start; then its folder and the two folders above, if they are empty."""
    for name in ("flags.json", "data.json", "machine.json", "phases.json", LOCK):
        (directory / name).unlink(missing_ok=True)
    for name in ("wandb", "tensorboard"):
        shutil.rmtree(directory / name, ignore_errors=True)
    remove_empty(directory, *directory.parents[:2])


def remove_empty(*directories: Path) -> None:
    """Removes the folders in the given order, innermost first, and stops at the first that is not empty."""
    with suppress(OSError):
        for directory in directories:
            directory.rmdir()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The git commit of the running code, with the suffix `-dirty` if it has uncommitted changes; None outside git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


LOCK = ".lock"
"""The lock file. A file is locked instead of the folder, because on NFS other machines do not see a lock on a
folder."""


@contextmanager
def run_locked(directory: Path) -> Iterator[None]:
    """Locks the folder of a run during the block, so that no other process trains in it.

    The folder is created if it does not exist, and removed again if the block fails before it has written anything into
    it. Temporary files that killed processes have left in it are removed before and after the block, as soon as they
    are old enough (see `remove_leftovers`). The operating system releases the lock when this process ends, even if it
    is killed.

    **Raises** `BlockingIOError` if another process holds the lock.
    """
    import fcntl

    is_new = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"another process is training in {directory}. Wait until it ends, or stop it."
            ) from error
        remove_leftovers(directory)
        yield
        remove_leftovers(directory)  # those that were too young before
        is_new = False
    finally:
        if is_new and [path.name for path in directory.iterdir()] == [LOCK]:
            (directory / LOCK).unlink()
            remove_empty(directory)
        os.close(descriptor)
