"""Finding the runs below a folder, and reading their settings and metrics."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from floqzoo.runs.stored_run import StoredRun


def find_runs(directory: Path) -> list[Path]:
    """Finds the run folders at or below a folder, i.e. those with a `flags.json`, sorted by path.

    Subfolders of a run folder are not searched.

    **Raises** `FileNotFoundError` if there is no such folder, `NotADirectoryError` if it is a file.
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
    """Opens the runs at or below these folders, each only once.

    **Raises** `FileNotFoundError` if a folder does not exist or contains no run, and the errors of `find_runs` and
    `StoredRun`.
    """
    folders = []
    for path in paths:
        found = find_runs(path)
        if not found:
            raise FileNotFoundError(f"{path} contains no run: neither it nor a folder below it has a flags.json.")
        folders += found
    return [StoredRun(folder) for folder in dict.fromkeys(folder.resolve() for folder in folders)]


def setting(run: StoredRun, name: str) -> Any:
    """The setting `name` of a run.

    **Raises** `ValueError` if the run's `flags.json` lacks the setting.
    """
    if name not in run.flags:
        raise ValueError(f"{run.directory / 'flags.json'} must have `{name}`; it does not.")
    return run.flags[name]


def evaluations(run: StoredRun) -> Mapping[str, Float[np.ndarray, " rows"]]:
    """The columns of the run's `eval.csv`; empty before the first evaluation."""
    return run.eval if (run.directory / "eval.csv").exists() else {}


def training_metrics(run: StoredRun) -> Mapping[str, Float[np.ndarray, " rows"]]:
    """The columns of the run's `train.csv`; empty before the first row."""
    return run.train if (run.directory / "train.csv").exists() else {}
