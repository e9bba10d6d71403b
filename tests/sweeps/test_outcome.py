"""What a sweep leaves: finished trials are compared, by whatever the sweep changed."""

import pytest

from floqzoo.results import read_comparison
from floqzoo.sweeps import run_trial
from floqzoo.sweeps.outcome import failure_report, write_outcome
from floqzoo.sweeps.run_trial import main
from floqzoo.sweeps.scheduler import Failure


@pytest.fixture
def finished(toy_sweep, capsys):
    """A sweep whose trials are carried out here, all but some of the last."""

    def finished(fields, but=0):
        sweep = toy_sweep(fields=fields)
        for trial in sweep.trials[: len(sweep.trials) - but]:
            main(trial.words)
        capsys.readouterr()
        return sweep

    return finished


@pytest.mark.slow
def test_a_setting_of_the_run_sets_methods_apart(finished, capsys):
    sweep = finished("precision: [float32, bfloat16]")
    write_outcome(sweep)
    methods = {row.method for row in read_comparison(sweep.folder / "comparison.csv")}
    assert methods == {"toy precision=float32", "toy precision=bfloat16"}
    assert (sweep.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert "toy precision=bfloat16" in out and str(sweep.folder / "comparison.md") in out


def test_only_what_is_finished_is_compared(finished, capsys):
    sweep = finished("agent.batch_size: [4, 8]", but=2)
    write_outcome(sweep)
    assert "nothing to compare" in capsys.readouterr().out
    assert not (sweep.folder / "comparison.csv").exists()


@pytest.mark.slow
def test_runs_of_different_lengths_have_curves_and_no_table(finished, capsys):
    sweep = finished("offline_steps: [10, 20]")
    write_outcome(sweep)
    out = capsys.readouterr().out
    assert "no table: the runs on pointmaze-medium-navigate-singletask-task1-v0 end at different updates" in out
    assert f"figure: {sweep.folder / 'curves.png'}" in out


def test_a_failure_is_told_with_the_end_of_its_log(toy_sweep):
    trial = toy_sweep().trials[0]
    trial.directory.mkdir(parents=True)
    (trial.directory / "log.txt").write_text("\n".join(["first", *map(str, range(9)), "error: gain became NaN"]))
    lines = failure_report([Failure(trial, "ended with status 1")]).splitlines()
    assert lines[0].startswith(f"failed: {trial} ended with status 1; {trial.directory}")
    assert lines[1:] == ["    5", "    6", "    7", "    8", "    error: gain became NaN"]


def test_only_whole_names_are_flags_of_a_trial():
    """Others are the recipe's, whatever they begin with."""
    words = ["--run_directory=there", "--recipe=floq"]
    for short in ("--run=1", "--rec=fql", "--recip=fql"):
        assert run_trial._arguments([*words, short])[2] == [short]
