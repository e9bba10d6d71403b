"""Mutation testing with [cosmic-ray](https://cosmic-ray.readthedocs.io): random faults.

In a clone of the repository, because the files change while it runs:

    pip install -e ".[dev]" cosmic-ray
    pytest -n 0 --cov=floqzoo --cov-context=test --junitxml=tests.xml    # or only some folders of tests
    cosmic-ray init tools/mutation.toml mutants.sqlite
    cr-filter-operators mutants.sqlite tools/mutation.toml
    python tools/mutate.py sample mutants.sqlite --per_package 30   # the same mutants for the same seed
    python tools/mutate.py run mutants.sqlite                       # can be interrupted and continued
    python tools/mutate.py report mutants.sqlite

The second command records which test reaches which line, and how long each takes. cosmic-ray lists the mutants, makes
them and keeps their results. Each mutant is tested by the tests that reach its line, the cheapest file first, until one
fails, in a process forked from one that has imported the dependencies; `cosmic-ray exec` would start Python anew. The
packages take turns, so that a run that is interrupted is a fair sample of each.

`python tools/mutate.py run mutants.sqlite --again` tests only the survivors once more, after new tests. A line of a
compiled function is reached by the test that traces it; another test that calls the compiled function may not be
counted, so check a survivor against its whole folder. tools/mutation_results.md has the last results.
"""

import argparse
import ast
import itertools
import os
import random
import re
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plant_faults import PROCESSES, run_pytest


# Seconds of tests for each mutant, as measured; and of waiting, after which a mutant counts as an endless loop.
BUDGET, PATIENCE = 120.0, 900.0
PACKAGES = {"update_rules": "agent", "hyperparameter": "agent", "studies": "results"}


def package(module: Path) -> str:
    """The package of a module; modules at the top level are of the agent, statistics of studies are results."""
    name = module.parts[1].removesuffix(".py")
    return PACKAGES.get(name, name)


def sample(session: str, per_package: int, seed: int) -> None:
    """Keeps random mutants in each package, at most one of an expression, and skips the others."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import WorkerOutcome, WorkResult

    with use_db(session, WorkDB.Mode.open) as database:
        expressions = defaultdict(lambda: defaultdict(list))
        for item in database.pending_work_items:
            (mutation,) = item.mutations
            place = (str(mutation.module_path), mutation.start_pos, mutation.end_pos)
            expressions[package(mutation.module_path)][place].append(
                (mutation.operator_name, mutation.occurrence, item.job_id)
            )
        rng = random.Random(seed)
        kept = set()
        for name in sorted(expressions):
            places = sorted(expressions[name])
            for place in rng.sample(places, min(per_package, len(places))):
                kept.add(rng.choice(sorted(expressions[name][place]))[-1])
        skipped = [item.job_id for item in database.pending_work_items if item.job_id not in kept]
        database.set_multiple_results(skipped, WorkResult(WorkerOutcome.SKIPPED, "not drawn"))
    print(f"{len(kept)} mutants in {len(expressions)} packages")


def in_turns(items: list, seed: int = 0) -> list:
    """The mutants in random order, one of each package in turn."""
    random.Random(seed).shuffle(items)
    turns = defaultdict(list)
    for item in items:
        turns[package(item.mutations[0].module_path)].append(item)
    rounds = itertools.zip_longest(*(turns[name] for name in sorted(turns)))
    return [item for turn in rounds for item in turn if item is not None]


class Tests:
    """Which tests reach which lines, and their seconds, as recorded in `.coverage` and `tests.xml`."""

    def __init__(self):
        from coverage import CoverageData

        self.data = CoverageData()
        self.data.read()
        self.seconds = defaultdict(float)
        for case in ElementTree.parse("tests.xml").iter("testcase"):
            if not len(case):  # neither failed nor skipped
                self.seconds[case.get("classname", ""), case.get("name", "")] += float(case.get("time", 0))

    def that_reach(self, file: Path, lines: range) -> set[str]:
        """The tests that execute the statement of these lines, or else its function or class, or else the file.

        Default values and fields are executed on import and not by a test, hence the wider choices.
        """
        contexts = self.data.contexts_by_lineno(str(file.resolve()))
        spans = [
            (node.lineno, node.end_lineno) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.stmt)
        ]
        around = [(first, last) for first, last in spans if first <= lines[0] and lines[-1] <= last]
        for first, last in [*sorted(around, key=lambda span: span[1] - span[0]), (1, max(contexts, default=1))]:
            found = {context for line in range(first, last + 1) for context in contexts.get(line, [])} - {""}
            if found:
                return {context.rpartition("|")[0] for context in found}
        return set()

    def in_order(self, tests: set[str]) -> list[str]:
        """Those that passed, the cheapest files first and in each the cheapest tests, as far as the budget goes."""
        cost = {}
        for test in tests:
            file, _, name = test.partition("::")
            case = (file.removesuffix(".py").replace("/", "."), name)
            if case in self.seconds:
                cost[test] = self.seconds[case]
        of_file = defaultdict(float)
        for test, seconds in cost.items():
            of_file[test.partition("::")[0]] += seconds
        ordered = sorted(cost, key=lambda test: (of_file[test.partition("::")[0]], test.partition("::")[0], cost[test]))
        spent = itertools.accumulate(cost[test] for test in ordered)
        return [test for test, seconds in zip(ordered, spent, strict=True) if seconds <= BUDGET]


@contextmanager
def written(file: Path, text: str) -> Iterator[None]:
    """A file with another text, and then as it was, with its time, so that its compiled module remains valid."""
    before, status = file.read_text(), file.stat()
    file.write_text(text)
    try:
        yield
    finally:
        file.write_text(before)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def run(session: str, again: bool, seconds: float) -> None:
    """Tests the drawn mutants that have no result yet, or all survivors once more."""
    import cosmic_ray.plugins
    from cosmic_ray.mutating import _make_diff, mutate_code
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

    tests, end = Tests(), time.monotonic() + seconds
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # of mutants
    with use_db(session, WorkDB.Mode.open) as database, tempfile.TemporaryDirectory() as folder:
        survivors = [item for item, result in database.completed_work_items if not result.is_killed]
        items = in_turns(list(survivors if again else database.pending_work_items))
        for item in items:
            if time.monotonic() > end:
                break
            (mutation,) = item.mutations
            file, began, report = mutation.module_path, time.monotonic(), Path(folder) / "report.txt"
            operator = cosmic_ray.plugins.get_operator(mutation.operator_name)(**mutation.operator_args)
            source = file.read_text()
            mutant = mutate_code(source, operator, mutation.occurrence)
            chosen = tests.in_order(tests.that_reach(file, range(mutation.start_pos[0], mutation.end_pos[0] + 1)))
            status, told = 0, ""
            if chosen:
                with written(file, mutant):
                    process = PROCESSES.Process(target=run_pytest, args=(tuple(chosen), Path.cwd(), report))
                    process.start()
                    process.join(PATIENCE)
                    process.kill()
                    process.join()
                status, told = process.exitcode, report.read_text()
            failed = re.findall(r"^(?:FAILED|ERROR) .*", told, re.MULTILINE)[:1]
            output = f"{len(chosen)} tests, status {status}, {time.monotonic() - began:.1f} s {failed}"
            outcome = TestOutcome.KILLED if status else TestOutcome.SURVIVED
            diff = "\n".join(_make_diff(source, mutant, file))
            database.set_result(item.job_id, WorkResult(WorkerOutcome.NORMAL, output, outcome, diff))
            print(f"{outcome.value} {file}:{mutation.start_pos[0]} {output}", flush=True)


def report(session: str) -> None:
    """Prints the score of each package, and each survivor as a diff."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import WorkerOutcome

    scores = defaultdict(lambda: [0, 0])
    with use_db(session, WorkDB.Mode.open) as database:
        for item, result in database.completed_work_items:
            if result.worker_outcome == WorkerOutcome.SKIPPED:
                continue
            score = scores[package(item.mutations[0].module_path)]
            score[0] += result.is_killed
            score[1] += 1
            if not result.is_killed:
                print(f"\n{item.job_id} {result.output}\n{result.diff}")
    print("\n| package | mutants | caught |\n|---|---|---|")
    for name, (killed, total) in sorted(scores.items()):
        print(f"| {name} | {total} | {killed} ({killed / total:.0%}) |")


def main() -> None:
    """Runs the chosen step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    drawn = steps.add_parser("sample", help="draw mutants")
    drawn.add_argument("session")
    drawn.add_argument("--per_package", type=int, default=30)
    drawn.add_argument("--seed", type=int, default=0)
    tested = steps.add_parser("run", help="test the drawn mutants")
    tested.add_argument("session")
    tested.add_argument("--again", action="store_true", help="only those that survived before")
    tested.add_argument("--seconds", type=float, default=float("inf"), help="begin no mutant after this time")
    steps.add_parser("report", help="print scores and survivors").add_argument("session")
    options = parser.parse_args()
    if options.step == "sample":
        sample(options.session, options.per_package, options.seed)
    elif options.step == "run":
        run(options.session, options.again, options.seconds)
    else:
        report(options.session)


if __name__ == "__main__":
    sys.exit(main())
