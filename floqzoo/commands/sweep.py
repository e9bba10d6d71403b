"""The `floqzoo sweep` command."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro


def sweep(
    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SWEEP")],
    /,
    *,
    address: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None,
    save_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    dry_run: bool = False,
    slurm: bool = False,
) -> None:
    """Runs each combination of recipes, tasks, seeds and settings on Ray, and compares the results.

    To continue a sweep that was stopped, run the same command again: finished trials are skipped, and the others resume
    from their checkpoints. The whole file is validated before any trial starts. The exit status is 1 if a trial failed.

    Args:
        file: A YAML file, or the name of a published sweep: floq-def, floq-best, fql, small, chunks, comparison.
        address: The address of a Ray cluster, such as auto; by default Ray is started on this machine and shut down at
            the end.
        save_dir: The folder of all runs; by default the save_dir in the file, or exp if there is none.
        dry_run: Whether to print the commands of all trials without running them.
        slurm: Whether to submit the unfinished trials to Slurm as a job array; needs floqzoo[slurm] instead of Ray.
    """
    from floqzoo.sweeps.launcher import run_sweep, unfinished_trials
    from floqzoo.sweeps.outcome import failure_report
    from floqzoo.sweeps.slurm_launcher import submit
    from floqzoo.sweeps.sweep_file import read_sweep
    from floqzoo.training.cli_errors import FAILED, leave

    read = read_sweep(file, save_dir=save_dir)
    if dry_run:
        for trial in read.trials:
            print(shlex.join(trial.command))
        print(f"{len(read.trials)} trials, {len(unfinished_trials(read))} to run", file=sys.stderr)
        return
    if slurm:
        jobs = submit(read, unfinished_trials(read))
        print(f"{len(jobs)} trials submitted" + (f": {jobs[0].job_id} and on" if jobs else ""))
        return
    failures = run_sweep(read, address=address)
    if failures:
        leave(failure_report(failures), FAILED)
