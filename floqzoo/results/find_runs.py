"""Finds the runs in a folder, and reads their settings and metrics."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from floqzoo.runs.stored_run import StoredRun


def find_runs(directory: Path) -> list[Path]:
    """Finds all run folders in a folder, sorted by path; the folder itself may be one of them.

    A run folder is a folder with a `flags.json`. Its subfolders are not searched.

    **Raises** `FileNotFoundError` if there is no such folder; `NotADirectoryError` if it is a file.
    """
    if not directory.exists():
        raise FileNotFoundError(f"there is no folder {directory}.")
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory} must be a folder that is or contains a run; it is a file.")
    found = []
    for folder, folders, files in os.walk(directory):
        if "flags.json" in files:
            found.append(Path(folder))
            folders.clear()
    return sorted(found)


def open_runs(paths: Sequence[Path]) -> list[StoredRun]:
    """Opens all runs in the given folders, which may themselves be runs; each run is opened only once.

    **Raises** `FileNotFoundError` if a folder does not exist or contains no run, and the same errors
    as `find_runs` and `StoredRun`.
    """
    folders = []
    for path in paths:
        found = find_runs(path)
        if not found:
            raise FileNotFoundError(f"{path} contains no run: neither it nor a folder below it has a flags.json.")
        folders += found
    return [StoredRun(folder) for folder in dict.fromkeys(folder.resolve() for folder in folders)]


def setting(run: StoredRun, name: str) -> Any:
    """Returns the value of the setting `name` of a run.

    **Raises** `ValueError` if the `flags.json` of the run does not contain the setting.
    """
    if name not in run.flags:
        raise ValueError(f"{run.directory / 'flags.json'} must have `{name}`; it does not.")
    return run.flags[name]


def evaluations(run: StoredRun) -> Mapping[str, Float[np.ndarray, " rows"]]:
    """Returns the columns of the run's `eval.csv` by name; empty before the first evaluation."""
    return run.eval if (run.directory / "eval.csv").exists() else {}


def training_metrics(run: StoredRun) -> Mapping[str, Float[np.ndarray, " rows"]]:
    """Returns the columns of the run's `train.csv` by name; empty before the first row is logged."""
    return run.train if (run.directory / "train.csv").exists() else {}
