"""The runs below a folder, and what every reader of them asks."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from floqzoo.runs.stored_run import StoredRun


def find_runs(directory: Path) -> list[Path]:
    """The folders of runs at or below a folder, that is those that hold a `flags.json`, in the order of their names.

    What lies in the folder of a run is a part of it, and is not looked through.

    **Raises** `FileNotFoundError` if there is no such folder, `NotADirectoryError` if it is a file.
    """
    if not directory.exists():
        raise FileNotFoundError(f"there is no folder {directory}.")
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory} must be the folder of a run, or of several; it is a file.")
    found = []
    for folder, folders, files in os.walk(directory):
        if "flags.json" in files:
            found.append(Path(folder))
            folders.clear()
    return sorted(found)


def open_runs(paths: Sequence[Path]) -> list[StoredRun]:
    """The runs at or below these folders, each once.

    **Raises** `FileNotFoundError` if a folder is not there or holds no run, and what `StoredRun` raises.
    """
    folders = []
    for path in paths:
        found = find_runs(path)
        if not found:
            raise FileNotFoundError(f"{path} holds no run: neither it nor a folder below it has a flags.json.")
        folders += found
    return [StoredRun(folder) for folder in dict.fromkeys(folder.resolve() for folder in folders)]


def setting(run: StoredRun, name: str) -> Any:
    """One of the run's settings.

    **Raises** `ValueError` if its `flags.json` has none of that name.
    """
    if name not in run.flags:
        raise ValueError(f"{run.directory / 'flags.json'} must say `{name}`; it does not.")
    return run.flags[name]


def evaluations(run: StoredRun) -> Mapping[str, Float[np.ndarray, " rows"]]:
    """The columns of the run's `eval.csv`; none before the first evaluation."""
    return run.eval if (run.directory / "eval.csv").exists() else {}


def training_metrics(run: StoredRun) -> Mapping[str, Float[np.ndarray, " rows"]]:
    """The columns of the run's `train.csv`; none before the first row."""
    return run.train if (run.directory / "train.csv").exists() else {}
