"""Mutation testing with [cosmic-ray](https://cosmic-ray.readthedocs.io): random faults.

In a clone of the repository, because the files change while it runs:

    pip install -e ".[dev]" cosmic-ray
    for part in tests/*/ tests/test_*.py; do   # or only some of them
        pytest -o addopts= -m "not slow" --cov=floqzoo --cov-append --cov-context=test --cov-report= \\
            --junitxml=tests-$(basename $part).xml $part
    done
    cosmic-ray init tools/mutation.toml mutants.sqlite
    cr-filter-operators mutants.sqlite tools/mutation.toml
    python tools/mutate.py sample mutants.sqlite --per_package 30   # the same mutants for the same seed
    python tools/mutate.py run mutants.sqlite                       # can be interrupted and continued
    python tools/mutate.py report mutants.sqlite

cosmic-ray lists the mutants, makes them and keeps their results; this program draws some, and runs the tests of each. It
draws none of a line that calls `os.kill` or `os.killpg`, which could end any process of the user. The loop records which
test reaches which line, and how long each takes (in one process: with several, pytest-cov records no tests). A mutant is
tested by the tests that reach its line, until one fails or they have taken `--budget` seconds: first those of its
package, of each function the cheapest first. Where no test is recorded, as for default values, they are those of the
files that name its class. Packages take turns, so that a run that is interrupted is a fair sample of each. With a
compilation cache (`JAX_ENABLE_COMPILATION_CACHE=true`, `JAX_COMPILATION_CACHE_DIR` and
`JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0`, for the loop too) programs that a mutant does not change are compiled
once.

Packages that the loop leaves out are tested with `--by_name PACKAGE ...`, once their tests are listed: a mutant then by the
tests whose files name its class:

    pytest -o addopts= -m "not slow" --collect-only -q tests/policies tests/laws > tests-listed.txt

`python tools/mutate.py run mutants.sqlite --again` tests only the survivors once more, with a larger budget or after new
tests have been recorded as above. Another test that calls a compiled function may not be counted as reaching it, so check a
survivor against its whole folder. cosmic-ray writes each result to disk, so a session on a RAM disk, such as /dev/shm, is
faster. tools/mutation_results.md has the last results.
"""

import argparse
import ast
import difflib
import itertools
import os
import random
import re
import resource
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plant_faults import PROCESSES, run_pytest


MEMORY = 8 * 2**30
"""Bytes that the tests of a mutant may use."""
PACKAGES = {"update_rules": "agent", "phased_update": "agent", "hyperparameter": "agent", "studies": "results"}
FOLDERS = {"agent": "tests/test_", "learner": "tests/training/", "runs": "tests/training/"}
"""Where the tests of a package are, if not in the folder of its name."""


def package(module: Path) -> str:
    """The package of a module; modules at the top level are of the agent, statistics of studies are results."""
    name = module.parts[1].removesuffix(".py")
    return PACKAGES.get(name, name)


def mutated(mutation: Any) -> str:
    """The text of a mutant."""
    import cosmic_ray.plugins
    from cosmic_ray.mutating import mutate_code

    operator = cosmic_ray.plugins.get_operator(mutation.operator_name)(**mutation.operator_args)
    return mutate_code(mutation.module_path.read_text(), operator, mutation.occurrence)


def compiles(mutation: Any) -> bool:
    """Whether a mutant is Python: cosmic-ray takes the stars of arguments for operators."""
    try:
        return bool(ast.parse(mutated(mutation)))
    except SyntaxError:
        return False


def is_safe(mutation: Any) -> bool:
    """Whether a mutant is not in a line that sends signals, which might then reach processes of others."""
    lines = mutation.module_path.read_text().split("\n")[mutation.start_pos[0] - 1 : mutation.end_pos[0]]
    return not any(re.search(r"\bos\.kill(pg)?\(", line) for line in lines)


def sample(session: str, per_package: int, seed: int) -> None:
    """Keeps random mutants in each package, at most one of an expression, and skips the others."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import WorkerOutcome, WorkResult

    with use_db(session, WorkDB.Mode.open) as database:
        expressions, mutants = defaultdict(lambda: defaultdict(list)), {}
        for item in database.pending_work_items:
            (mutation,) = item.mutations
            mutants[item.job_id] = mutation
            place = (str(mutation.module_path), mutation.start_pos, mutation.end_pos)
            expressions[package(mutation.module_path)][place].append(
                (mutation.operator_name, mutation.occurrence, item.job_id)
            )
        rng = random.Random(seed)
        kept = set()
        for name in sorted(expressions):
            places = sorted(expressions[name])
            drawn = (rng.choice(sorted(expressions[name][place])) for place in rng.sample(places, len(places)))
            sound = (job for _, _, job in drawn if compiles(mutants[job]) and is_safe(mutants[job]))
            kept |= set(itertools.islice(sound, per_package))
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
    """Which tests reach which lines, and their seconds, as recorded in `.coverage` and `tests*.xml`.

    Tests that are only listed in a file `tests*.txt` count as 1 s.
    """

    def __init__(self):
        from coverage import CoverageData

        self.data = CoverageData()
        self.data.read()
        self.seconds, self.texts = defaultdict(float), {}
        for path in Path.cwd().glob("tests*.xml"):
            for case in ElementTree.parse(path).iter("testcase"):
                if not len(case):  # neither failed nor skipped
                    self.seconds[case.get("classname", ""), case.get("name", "")] = float(case.get("time", 0))
        for path in Path.cwd().glob("tests*.txt"):
            for file, name in re.findall(r"^(\S+)\.py::(.*)$", path.read_text(), re.MULTILINE):
                self.seconds.setdefault((file.replace("/", "."), name), 1.0)

    def that_reach(self, file: Path, lines: range) -> set[str]:
        """The tests that execute the statement of these lines, or else its function or class, or else the file.

        Default values and fields are executed on import and not by a test, hence the wider choices.
        """
        contexts = self.data.contexts_by_lineno(str(file.resolve()))
        spans = [
            (node.lineno, node.end_lineno)
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.stmt)
        ]
        around = [(first, last) for first, last in spans if first <= lines[0] and lines[-1] <= last]
        for first, last in [*sorted(around, key=lambda span: span[1] - span[0]), (1, max(contexts, default=1))]:
            found = {context for line in range(first, last + 1) for context in contexts.get(line, [])} - {""}
            if found:
                return {context.rpartition("|")[0] for context in found}
        return self.that_name(file, lines)

    def that_name(self, file: Path, lines: range) -> set[str]:
        """The tests of files that name the class or function around these lines, or else any of the file."""
        tree = [n for n in ast.parse(file.read_text()).body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
        around = {n.name for n in tree if n.lineno <= lines[0] <= n.end_lineno and not n.name.startswith("_")}
        names = around or {n.name for n in tree if not n.name.startswith("_")} or {file.stem}
        pattern = re.compile(rf"\b({'|'.join(names)})\b|\.{file.stem}\b")
        plain = {name.lower().replace("_", "") for name in names}
        chosen = set()
        for classname, name in self.seconds:
            test = classname.replace(".", "/") + ".py"
            if test not in self.texts:
                self.texts[test] = Path(test).read_text()
            parameters = name.partition("[")[2].lower().replace("_", "")
            if pattern.search(self.texts[test]) or any(each in parameters for each in plain):
                chosen.add(f"{test}::{name}")
        return chosen

    def in_order(self, tests: set[str], folder: str, budget: float) -> tuple[list[str], float]:
        """Those that passed, as far as the budget of seconds goes, and their seconds.

        The tests of a folder are first, of each function the cheapest first, and files are kept together.
        """
        cost = {}
        for test in tests:
            file, _, name = test.partition("::")
            case = (file.removesuffix(".py").replace("/", "."), name)
            if case in self.seconds:
                cost[test] = self.seconds[case]
        of_file, of_function = defaultdict(float), defaultdict(list)
        for test in sorted(cost, key=lambda test: (cost[test], test)):
            of_file[test.partition("::")[0]] += cost[test]
            of_function[test.partition("[")[0]].append(test)
        firsts = {tests[0] for tests in of_function.values()}

        def place(test: str) -> tuple:
            file = test.partition("::")[0]
            return not test.startswith(folder), test not in firsts, of_file[file], file, cost[test], test

        chosen, spent = [], 0.0
        for test in sorted(cost, key=place):
            if spent + cost[test] <= budget:
                chosen.append(test)
                spent += cost[test]
        return chosen, spent


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


def run_limited(tests: tuple[str, ...], folder: Path, report: Path, patience: int) -> None:
    """Runs tests of a mutant, which may never end or use all memory, with limits that hold even if its parent ends."""
    resource.setrlimit(resource.RLIMIT_CPU, (patience, patience))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    run_pytest(tests, folder, report)


def run(session: str, again: bool, budget: float, seconds: float, by_name: list[str]) -> None:
    """Tests the drawn mutants that have no result yet, or all survivors once more."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

    os.environ["PYTHONDONTWRITEBYTECODE"], sys.dont_write_bytecode = "1", True  # of mutants
    end = time.monotonic() + seconds
    with use_db(session, WorkDB.Mode.open) as database, tempfile.TemporaryDirectory() as folder:
        survivors = [item for item, result in database.completed_work_items if not result.is_killed]
        items = in_turns(list(survivors if again else database.pending_work_items))
        tests = Tests()
        for item in items:
            if time.monotonic() > end:
                break
            (mutation,) = item.mutations
            file, began, report = mutation.module_path, time.monotonic(), Path(folder) / "report.txt"
            source, mutant = file.read_text(), mutated(mutation)
            name, lines = package(file), range(mutation.start_pos[0], mutation.end_pos[0] + 1)
            reaching = tests.that_name(file, lines) if name in by_name else tests.that_reach(file, lines)
            chosen, expected = tests.in_order(reaching, FOLDERS.get(name, f"tests/{name}/"), budget)
            patience = int(20 + 3 * expected)  # beyond it, a mutant counts as an endless loop
            status, told = 0, ""
            if chosen:
                with written(file, mutant):
                    process = PROCESSES.Process(target=run_limited, args=(tuple(chosen), Path.cwd(), report, patience))
                    process.start()
                    process.join(2 * patience)
                    process.kill()
                    process.join()
                status, told = process.exitcode, report.read_text()
            failed = re.findall(r"^(?:FAILED|ERROR) .*", told, re.MULTILINE)[:1]
            output = (
                f"{len(chosen)} of {len(reaching)} tests, status {status}, {time.monotonic() - began:.1f} s {failed}"
            )
            outcome = TestOutcome.KILLED if status else TestOutcome.SURVIVED
            lines = difflib.unified_diff(source.split("\n"), mutant.split("\n"), str(file), "mutant", lineterm="")
            diff = "\n".join(lines)
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
    tested.add_argument("--budget", type=float, default=120.0, help="seconds of tests for each mutant, as recorded")
    tested.add_argument("--by_name", nargs="*", default=[], help="packages whose tests are those that name the class")
    tested.add_argument("--seconds", type=float, default=float("inf"), help="begin no mutant after this time")
    steps.add_parser("report", help="print scores and survivors").add_argument("session")
    options = parser.parse_args()
    if options.step == "sample":
        sample(options.session, options.per_package, options.seed)
    elif options.step == "run":
        run(options.session, options.again, options.budget, options.seconds, options.by_name)
    else:
        report(options.session)


if __name__ == "__main__":
    sys.exit(main())
