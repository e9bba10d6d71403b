"""Submits trials to Slurm with submitit, as an alternative to running them on Ray."""

import math
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from floqzoo.sweeps.attempt import Attempt, environment_of
from floqzoo.sweeps.ending import ending_of
from floqzoo.sweeps.sweep import Resources, Sweep
from floqzoo.sweeps.trial import Trial


TIMEOUT_MINUTES = 24 * 60
"""The default time limit of a job in minutes, after which it is requeued."""


def submit(sweep: Sweep, trials: Sequence[Trial], *, cluster: str = "slurm") -> list[Any]:
    """Submits trials as a job array, and returns submitit's jobs without waiting for them.

    If a job is preempted or reaches its time limit, it writes a checkpoint and is requeued, and the trial then resumes
    from the checkpoint. A job is requeued at most `sweep.restarts` times for reaching its time limit. Once all jobs
    have ended, `floqzoo sweep` writes the comparison table.

    - `trials`: The trials to submit.
    - `cluster`: The name of a cluster in submitit; "local" runs the trials as processes on this machine.

    **Raises** `ModuleNotFoundError` if submitit is not installed, `FileNotFoundError` if Slurm is not available, and
    `ValueError` for a parameter in `sweep.slurm` that submitit does not know.
    """
    if not trials:
        return []
    executor, environment = _executor(sweep, cluster), environment_of(_granted(sweep.resources))
    attempts = [Attempt(trial.directory, trial.words, environment, os.getcwd()) for trial in trials]
    with executor.batch():
        return [executor.submit(SlurmTrial(attempt)) for attempt in attempts]


class SlurmTrial:
    """One attempt at a trial, which runs as a Slurm job."""

    def __init__(self, attempt: Attempt):
        self.attempt = attempt

    def __call__(self) -> None:
        """Runs the trial.

        **Raises** `RuntimeError` if the trial does not finish.
        """
        where = ", job ".join([socket.gethostname(), *filter(None, [os.environ.get("SLURM_JOB_ID")])])
        ending = ending_of(self.attempt.run(where))
        if not ending.done:
            raise RuntimeError(f"the trial {ending.reason}; see {self.attempt.directory}.")

    def checkpoint(self, *_: Any) -> Any:
        """Stops the trial, and returns a new job for submitit to requeue, which resumes the trial."""
        import submitit

        self.attempt.stop()
        again = Attempt(self.attempt.directory, self.attempt.words, self.attempt.environment, self.attempt.cwd)
        return submitit.helpers.DelayedSubmission(SlurmTrial(again))


def _executor(sweep: Sweep, cluster: str) -> Any:
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "submitting trials needs submitit, which is not installed: pip install 'floqzoo[slurm]'."
        ) from error
    options = {"slurm_max_num_timeout": sweep.restarts} if cluster == "slurm" else {}
    try:
        executor = submitit.AutoExecutor(folder=sweep.folder / "slurm", cluster=cluster, **options)
    except RuntimeError as error:
        raise FileNotFoundError(f"trials cannot be submitted from this machine: {error}") from error
    try:
        executor.update_parameters(name=sweep.name, **{**_parameters(_granted(sweep.resources)), **sweep.slurm})
    except (NameError, TypeError, AssertionError) as error:
        raise ValueError(f"`slurm` must contain parameters of submitit: {' '.join(str(error).split())}") from error
    return executor


def _granted(resources: Resources) -> Resources:
    """The resources of a Slurm job, with GPUs rounded up, since Slurm assigns whole GPUs only."""
    return replace(resources, gpu=float(math.ceil(resources.gpu)))


def _parameters(resources: Resources) -> dict[str, Any]:
    memory = {} if resources.memory_gb is None else {"mem_gb": resources.memory_gb}
    gpus = {"gpus_per_node": int(resources.gpu)} if resources.gpu else {}
    return {"timeout_min": TIMEOUT_MINUTES, "cpus_per_task": resources.cpu, **gpus, **memory}
