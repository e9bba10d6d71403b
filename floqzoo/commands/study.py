"""`floqzoo study`."""

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
    """Tests a claim about flow matching in TD learning: trains what it needs, and writes a table, a figure and verdicts.

    Without a name it lists the studies. A study that was interrupted goes on in the same folder.

    Args:
        name: The study.
        seeds: Agents of each kind, in place of the study's own number.
        updates: Updates of each agent, in place of the study's own number.
        directory: Where the files go; without it exp/studies/NAME.
        read: A folder with the measurements of an earlier study; the table and the figure are made from them, without
            training, and go to `directory` or else to the same folder.

    **Raises** `ValueError` for `seeds` or `updates` beside `from`, and what [`study_named`][floqzoo.studies.claims.study_named] and
    [`run_study`][floqzoo.studies.study.run_study] raise.
    """
    from floqzoo.studies.claims import study_named, study_names
    from floqzoo.studies.report import print_table
    from floqzoo.studies.study import (
        MEASUREMENTS,
        Table,
        draw_study,
        judge,
        read_measurements,
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
            raise ValueError("`from` reads measurements; `seeds` and `updates` belong to a training.")
        table, directory = Table(read_measurements(read / MEASUREMENTS)), directory or read
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
