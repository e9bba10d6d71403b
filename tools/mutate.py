"""Mutation testing with [cosmic-ray](https://cosmic-ray.readthedocs.io): random faults.

In a clone of the repository, because cosmic-ray changes the files while it runs:

    pip install -e ".[dev]" cosmic-ray
    pytest -m "" --cov=floqzoo --cov-context=test --junitxml=tests.xml
    cosmic-ray init tools/mutation.toml mutants.sqlite
    cr-filter-operators mutants.sqlite tools/mutation.toml
    python tools/mutate.py sample mutants.sqlite --per_package 30   # the same mutants for the same seed
    cosmic-ray exec tools/mutation.toml mutants.sqlite              # can be interrupted and continued
    python tools/mutate.py report mutants.sqlite

The second command records which test reaches which line, and how long each takes. Each mutant is tested by the tests that
reach its line, the fastest first, until one fails. A line of a compiled function is reached by the test that traces it;
another test that calls the compiled function may not be counted, so check a survivor against its whole folder.
"""

import argparse
import ast
import os
import random
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path


# Seconds of tests for each mutant.
BUDGET = 240.0


def package(module: Path) -> str:
    """The package of a module, or the module itself at the top level."""
    return module.parts[1].removesuffix(".py")


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


def changed_lines() -> tuple[Path, set[int]]:
    """The file that differs from the commit, and the lines of the commit that differ."""
    diff = subprocess.run(["git", "diff", "-U0", "floqzoo"], capture_output=True, text=True, check=True).stdout
    (file,) = re.findall(r"^--- a/(.*)$", diff, re.MULTILINE)
    lines = set()
    for first, count in re.findall(r"^@@ -(\d+)(?:,(\d+))?", diff, re.MULTILINE):
        lines |= set(range(int(first), int(first) + int(count or 1)))
    return Path(file), lines


def tests_that_reach(file: Path, lines: set[int]) -> set[str]:
    """The tests that execute the statement of these lines, or else its function or class, or else the file.

    Default values and fields are executed on import and not by a test, hence the wider choices.
    """
    from coverage import CoverageData

    data = CoverageData()
    data.read()
    contexts = data.contexts_by_lineno(str(file.resolve()))

    def tests(first: int, last: int) -> set[str]:
        found = (context for line in range(first, last + 1) for context in contexts.get(line, []))
        return {context.rpartition("|")[0] for context in found} - {""}

    source = subprocess.run(["git", "show", f"HEAD:{file}"], capture_output=True, text=True, check=True).stdout
    spans = [(node.lineno, node.end_lineno) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    around = [(first, last) for first, last in spans if first <= min(lines) and max(lines) <= last]
    for first, last in [*sorted(around, key=lambda span: span[1] - span[0]), (1, max(contexts, default=1))]:
        if tests(first, last):
            return tests(first, last)
    return set()


def seconds_of_tests() -> dict[tuple[str, str], float]:
    """The measured time of each test, by its folder and file (dotted) and its name."""
    cases = ElementTree.parse("tests.xml").iter("testcase")
    return {(case.get("classname", ""), case.get("name", "")): float(case.get("time", 0)) for case in cases}


def run_tests() -> int:
    """Runs the tests that reach the changed lines, and returns pytest's status; without any, the mutant survives."""
    seconds = seconds_of_tests()

    def cost(test: str) -> float:
        file, _, name = test.partition("::")
        return seconds.get((file.removesuffix(".py").replace("/", "."), name), 1.0)

    chosen, spent = [], 0.0
    for test in sorted(tests_that_reach(*changed_lines()), key=cost):
        spent += cost(test)
        if spent > BUDGET:
            break
        chosen.append(test)
    print(f"{len(chosen)} tests")
    if not chosen:
        return 0
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as arguments:
        arguments.write("\n".join(chosen))
        arguments.flush()
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", ""]
        return subprocess.run(
            [sys.executable, "-m", "pytest", *options, f"@{arguments.name}"], env=environment
        ).returncode


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
                print(f"\n{result.output.splitlines()[0] if result.output else ''}\n{result.diff}")
    print("\n| package | mutants | caught |\n|---|---|---|")
    for name, (killed, total) in sorted(scores.items()):
        print(f"| {name} | {total} | {killed} ({killed / total:.0%}) |")


def main() -> int:
    """Runs the chosen step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    drawn = steps.add_parser("sample", help="draw mutants")
    drawn.add_argument("session")
    drawn.add_argument("--per_package", type=int, default=30)
    drawn.add_argument("--seed", type=int, default=0)
    steps.add_parser("tests", help="run the tests that reach the changed lines")
    steps.add_parser("report", help="print scores and survivors").add_argument("session")
    options = parser.parse_args()
    if options.step == "tests":
        return run_tests()
    if options.step == "sample":
        sample(options.session, options.per_package, options.seed)
    else:
        report(options.session)
    return 0


if __name__ == "__main__":
    sys.exit(main())
