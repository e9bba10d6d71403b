"""Trials submitted by submitit; its local executor stands in for Slurm, which is not here."""

from contextlib import nullcontext

import pytest

from floqzoo.sweeps import submit, unfinished_trials
from floqzoo.sweeps.attempt import Attempt
from floqzoo.sweeps.slurm_launcher import SlurmTrial


pytestmark = pytest.mark.slow


submitit = pytest.importorskip("submitit")


def test_submitted_trials_finish(toy_sweep):
    sweep = toy_sweep(fields="offline_steps: 20", more="slurm: {timeout_min: 5}")
    (job,) = submit(sweep, sweep.trials, cluster="local")
    assert job.result() is None
    assert unfinished_trials(sweep) == []
    assert submit(sweep, unfinished_trials(sweep), cluster="local") == []
    log = (sweep.trials[0].directory / "log.txt").read_text()
    assert log.count("== started") == 1


def test_a_trial_that_fails_fails_its_job(tmp_path):
    trial = SlurmTrial(Attempt(tmp_path, ["--recipe=flok", f"--run_directory={tmp_path}"], {}, "."))
    with pytest.raises(RuntimeError, match=f"the trial ended with status 2; see {tmp_path}"):
        trial()
    assert "Did you mean floq" in (tmp_path / "log.txt").read_text()


def test_what_is_queued_again_is_the_same_trial(tmp_path):
    trial = SlurmTrial(Attempt(tmp_path, ["--a"], {"B": "1"}, "."))
    again = trial.checkpoint().function
    assert vars(again.attempt) == vars(trial.attempt)


def test_slurm_is_asked_for_the_resources(toy_sweep, monkeypatch):
    asked = {}
    monkeypatch.setattr(submitit.AutoExecutor, "update_parameters", lambda _, **given: asked.update(given))
    sweep = toy_sweep(more="resources: {cpu: 4, gpu: 0.25, memory_gb: 8}\nslurm: {slurm_partition: gpu}")
    from floqzoo.sweeps.slurm_launcher import _executor

    _executor(sweep, "local")
    assert asked == {
        "name": "toy",
        "timeout_min": 1440,
        "cpus_per_task": 4,
        "gpus_per_node": 1,
        "mem_gb": 8.0,
        "slurm_partition": "gpu",
    }


def test_a_trial_has_the_memory_of_the_whole_gpus_that_its_job_gets(toy_sweep, monkeypatch):
    """Slurm gives no part of one."""
    submitted = []
    monkeypatch.setattr(submitit.AutoExecutor, "batch", lambda _: nullcontext())
    monkeypatch.setattr(submitit.AutoExecutor, "submit", lambda _, trial: submitted.append(trial))
    sweep = toy_sweep(more="resources: {gpu: 0.25}")
    submit(sweep, sweep.trials, cluster="local")
    assert {trial.attempt.environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] for trial in submitted} == {"0.900"}


def test_without_slurm_and_with_a_wrong_parameter_it_is_refused(toy_sweep, monkeypatch):
    sweep = toy_sweep(more="slurm: {timeout: 5}")
    with pytest.raises(ValueError, match=r"`slurm` must contain parameters of submitit: .*timeout"):
        submit(sweep, sweep.trials, cluster="local")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match=r"trials cannot be submitted from this machine: .*slurm"):
        submit(toy_sweep(), sweep.trials)
