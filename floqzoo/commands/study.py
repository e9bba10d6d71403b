"""The `floqzoo study` command."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro


def study(
    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = None,
    /,
    *,
    seeds: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    updates: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    directory: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    read: Annotated[Path | None, tyro.conf.arg(name="from", metavar="DIR")] = None,
) -> None:
    """Tests a claim about flow matching in TD learning: trains agents, and writes a table, a figure and verdicts.

    Without a name, lists the studies. An interrupted study resumes in the same folder.

    Args:
        name: The name of the study.
        seeds: The number of seeds for each kind of agent, instead of the study's default.
        updates: The number of updates of each agent, instead of the study's default.
        directory: The output folder; by default exp/studies/NAME.
        read: A folder with the measurements of an earlier study. The table and the figure are made from these
            measurements without training, and written to `directory`, or by default to the same folder.

    **Raises** `ValueError` if `seeds` or `updates` is given together with `from`, and the errors of
    [`study_named`][floqzoo.studies.claims.study_named] and [`run_study`][floqzoo.studies.study.run_study].
    """
    from floqzoo.studies.claims import study_named, study_names
    from floqzoo.studies.report import print_table, read_table
    from floqzoo.studies.study import (
        MEASUREMENTS,
        Measurement,
        Table,
        draw_study,
        judge,
        report_text,
        result_table,
        run_study,
        verdict_table,
    )
    from floqzoo.tasks.files import replacing
    from floqzoo.training.progress import ProgressReport

    if name is None:
        for each in study_names():
            print(f"{each:20}{study_named(each).claim}")
        return
    chosen = study_named(name)
    if read is not None:
        if seeds is not None or updates is not None:
            raise ValueError(
                "`seeds` and `updates` must not be given with `from`, which reads measurements without training."
            )
        table, directory = Table(read_table(Measurement, read / MEASUREMENTS)), directory or read
    else:
        directory = directory or Path("exp") / "studies" / name
        given = {"seeds": seeds, "updates": updates}
        settings = replace(chosen.settings, **{key: value for key, value in given.items() if value is not None})
        with ProgressReport("studying", "trials") as report:
            table = run_study(chosen, settings, directory, report.update)
    print_table(chosen.claim, *result_table(chosen, table))
    print_table("Verdicts", *verdict_table(judge(chosen, table)))
    path = directory / "report.md"
    with replacing(path) as temporary:
        temporary.write_text(report_text(chosen, table))
    print(f"report: {path}\nfigure: {draw_study(chosen, table, directory / f'{name}.png')}")
