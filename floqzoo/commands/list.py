"""The `floqzoo list` command."""

from pathlib import Path
from typing import Annotated

import tyro


def list_(directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")] = Path("exp"), /) -> None:
    """Lists the runs in a folder: their method and task, progress, last score, and state.

    The score is the success rate, or the mean return if the task does not report success. It is a mean over seeds,
    shown with its standard error. For a single seed, the standard error is over the episodes of that seed.

    Args:
        directory: The folder to search recursively; by default exp.
    """
    from floqzoo.results.run_list import list_runs, run_lines

    runs = list_runs(directory)
    if not runs:
        raise FileNotFoundError(f"{directory} contains no run: neither it nor a folder below it has a flags.json.")
    print(f"Runs in {directory}")
    for run in runs:
        print(*run_lines(run, directory), sep="\n")
