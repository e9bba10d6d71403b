"""Prints and writes the results of a study: the tables, the verdicts and the figure."""

from pathlib import Path

from floqzoo.studies.report import print_table
from floqzoo.studies.study import Experiment, Study, Table, draw_study, judge, report_text, result_table, verdict_table
from floqzoo.tasks.files import replacing


def write_study(study: Study, experiment: Experiment, table: Table, complete: Table, directory: Path) -> None:
    """Prints the results and the verdicts, and writes `report.md` and the figure to a folder.

    - `experiment`: The study itself, or its experiment on OGBench.
    - `table`: All measurements, for the table of results.
    - `complete`: The measurements of the tasks and seeds for which all arms were measured, for the verdicts and the
      figure. If there are none, neither is made, and a message says so.
    """
    directory.mkdir(parents=True, exist_ok=True)
    verdicts = judge(experiment, complete) if complete.rows else []
    print_table(study.claim, *result_table(experiment, table))
    print_table("Verdicts", *verdict_table(verdicts))
    path = directory / "report.md"
    with replacing(path) as temporary:
        temporary.write_text(report_text(experiment, table, verdicts))
    print(f"report: {path}")
    if complete.rows:
        print(f"figure: {draw_study(experiment, complete, directory / f'{study.name}.png')}")
    else:
        print("no verdicts and no figure: no seed has been evaluated in all arms.")
