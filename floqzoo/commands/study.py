"""The `floqzoo study` command."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import tyro


def study(
    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = None,
    /,
    *,
    scale: Literal["small", "ogbench-small", "paper"] = "small",
    seeds: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    updates: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    directory: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    read: Annotated[Path | None, tyro.conf.arg(name="from", metavar="DIR")] = None,
    dry_run: bool = False,
) -> None:
    """Tests a claim about flow matching in TD learning: trains agents, and writes a table, a figure and verdicts.

    Without a name, lists the studies. An interrupted study resumes in the same folder.

    Args:
        name: The name of the study.
        scale: small trains critics in a maze with exact values. ogbench-small trains recipes with small networks on
            OGBench, on collected data, and paper with published settings; both are sweeps, and need Ray.
        seeds: The number of seeds for each kind of agent, instead of the scale's default.
        updates: The number of updates of each agent, instead of the scale's default.
        directory: The output folder; by default exp/studies/NAME, or exp/studies/NAME-SCALE if the scale is not small.
        read: The folder of an earlier study with the same arguments. The table and the figure are made from its runs,
            or else from its measurements, without training, and written to `directory`, or by default to the same
            folder.
        dry_run: Whether to list the trials without running them. If the scale is not small, also writes sweep.yaml to
            `directory`, for `floqzoo sweep`.

    **Raises** `ValueError` if `from` is given together with `seeds` or `updates` at the scale small, or with `dry_run`,
    and the errors of [`study_named`][floqzoo.studies.claims.study_named],
    [`run_study`][floqzoo.studies.study.run_study] and `floqzoo.sweeps.study_sweep`.
    """
    from floqzoo.studies.claims import study_named, study_names

    if name is None:
        for each in study_names():
            print(f"{each:20}{study_named(each).claim}")
        return
    if read is not None and dry_run:
        raise ValueError("`dry_run` must not be given with `from`, which reads results without training.")
    folder = Path("exp") / "studies" / (name if scale == "small" else f"{name}-{scale}")
    if scale == "small":
        _study_in_maze(name, directory or read or folder, seeds, updates, read, dry_run)
    else:
        _study_on_ogbench(name, directory or read or folder, scale, seeds, updates, read, dry_run)


def _study_in_maze(
    name: str, directory: Path, seeds: int | None, updates: int | None, read: Path | None, dry_run: bool
) -> None:
    from floqzoo.studies.claims import study_named
    from floqzoo.studies.outcome import write_study
    from floqzoo.studies.report import read_table
    from floqzoo.studies.study import MEASUREMENTS, Measurement, Table, run_study
    from floqzoo.training.progress import ProgressReport

    chosen = study_named(name)
    if read is not None:
        if seeds is not None or updates is not None:
            raise ValueError(
                "`seeds` and `updates` must not be given with `from`, which reads measurements without training."
            )
        table = Table(read_table(Measurement, read / MEASUREMENTS))
    else:
        given = {"seeds": seeds, "updates": updates}
        settings = replace(chosen.settings, **{key: value for key, value in given.items() if value is not None})
        if dry_run:
            print("\n".join(chosen.trials(settings)))
            return
        with ProgressReport("studying", "trials") as report:
            table = run_study(chosen, settings, directory, report.update)
    write_study(chosen, chosen, table, table, directory)


def _study_on_ogbench(
    name: str,
    directory: Path,
    scale: str,
    seeds: int | None,
    updates: int | None,
    read: Path | None,
    dry_run: bool,
) -> None:
    from floqzoo.studies.claims import study_named
    from floqzoo.studies.outcome import write_study
    from floqzoo.studies.report import write_rows
    from floqzoo.studies.study import MEASUREMENTS
    from floqzoo.sweeps.launcher import run_sweep, unfinished_trials
    from floqzoo.sweeps.outcome import failure_report
    from floqzoo.sweeps.study_sweep import read_runs, study_sweep
    from floqzoo.sweeps.yaml_file import write_yaml
    from floqzoo.training.cli_errors import FAILED, leave

    chosen = study_named(name)
    planned = study_sweep(chosen, scale, read or directory, seeds=seeds, updates=updates)
    if dry_run:
        for trial in planned.sweep.trials:
            print(shlex.join(trial.command))
        file = directory / "sweep.yaml"
        write_yaml(planned.content, file)
        unfinished = len(unfinished_trials(planned.sweep))
        print(f"{len(planned.sweep.trials)} trials, {unfinished} to run: floqzoo sweep {file}", file=sys.stderr)
        return
    failures = [] if read is not None else run_sweep(planned.sweep)
    table, missing = read_runs(planned, read or directory)
    for trial in missing:
        print(f"missing: {trial}", file=sys.stderr)
    if not table.rows:
        print("no results: no run with these settings has its last evaluation.")
    else:
        write_rows(table.rows, directory / MEASUREMENTS)
        write_study(chosen, planned.experiment, table, planned.complete(table), directory)
    if failures:
        leave(failure_report(failures), FAILED)
