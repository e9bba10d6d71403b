"""Plants known faults in a copy of the project, one by one, and reports which test catches each.

    python tools/plant_faults.py                # every fault of tools/faults/
    python tools/plant_faults.py Euler "prior"  # those whose name or file contains one of the words
    python tools/plant_faults.py --list         # what would be planted
    python tools/plant_faults.py --write        # every fault, and the table of docs/testing.md

Prints a table in Markdown, and fails if a fault survives. The tests must pass before: what fails without a fault catches
nothing. Each fault costs a start of pytest and a test or two, about four seconds; the script is not part of the
continuous checks.
"""

import argparse
import datetime
import multiprocessing
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.metadata import version
from pathlib import Path

import pytest
from faults import FAULTS, Fault


ROOT = Path(__file__).parents[1]
TABLE = ROOT / "tools" / "faults" / "table.md"
COPIED = ("floqzoo", "recipes", "tests", "pyproject.toml")
# Each fault runs in a separate process, forked from one that has imported the dependencies.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "diffrax",
        "equinox",
        "hypothesis",
        "matplotlib.pyplot",
        "optax",
        "orbax.checkpoint",
        "pytest",
        "scipy.stats",
        "tyro",
    ]
)


@contextmanager
def copied_project() -> Iterator[Path]:
    """A temporary folder with the files that the tests need."""
    with tempfile.TemporaryDirectory() as name:
        for part in COPIED:
            source, copy = ROOT / part, Path(name) / part
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, copy)
        yield Path(name)


@contextmanager
def planted(fault: Fault, folder: Path) -> Iterator[None]:
    """Plants a fault in the copy, and removes it afterwards.

    **Raises** `ValueError` if the sound text does not occur exactly once, so that no fault is planted in vain.
    """
    path = folder / fault.file
    text = path.read_text()
    if text.count(fault.sound) != 1:
        raise ValueError(
            f"{fault.name}: {fault.sound!r} must occur once in {fault.file}; it does {text.count(fault.sound)} times."
        )
    path.write_text(text.replace(fault.sound, fault.faulty))
    try:
        yield
    finally:
        path.write_text(text)


def run_pytest(tests: tuple[str, ...], folder: Path, report: Path) -> None:
    """Runs some tests in a copy, up to the first failure, and ends this process with pytest's own status."""
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    sys.path.insert(0, str(folder))
    # Assertions of packages that are imported already stay as they are; ours are not.
    options = (
        "-x",
        "-q",
        "-n",
        "0",
        "-m",
        "",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    )
    with report.open("w") as file, redirect_stdout(file), redirect_stderr(file):
        status = pytest.main([*options, *tests])
    sys.exit(int(status))


def failing_test(tests: tuple[str, ...], folder: Path) -> str | None:
    """The first of some tests that fails in a copy, or `None` if all pass.

    **Raises** `RuntimeError` if pytest could not run them: an unknown test catches nothing.
    """
    report = folder / "report.txt"
    process = PROCESSES.Process(target=run_pytest, args=(tests, folder, report))
    process.start()
    process.join()
    if process.exitcode == pytest.ExitCode.OK:
        return None
    if process.exitcode != pytest.ExitCode.TESTS_FAILED:
        raise RuntimeError(f"pytest could not run {tests}:\n{report.read_text()}")
    return re.findall(r"^(?:FAILED|ERROR) (\S+)", report.read_text(), re.MULTILINE)[0]


def table(faults: list[Fault], folder: Path) -> Iterator[str]:
    """The lines of the table, each as soon as it is known."""
    yield "| fault | in | caught by |"
    yield "|---|---|---|"
    for fault in faults:
        with planted(fault, folder):
            test = failing_test(fault.tests, folder)
        verdict = "**survives**" if test is None else f"`{test.rpartition('/')[2]}`"
        yield f"| {fault.name} | `{fault.file}` | {verdict} |"


def conditions() -> str:
    """When and with what the faults were planted."""
    return f"{datetime.date.today()}, Python {platform.python_version()}, jax {version('jax')}"


def main() -> None:
    """Plants the chosen faults and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="plant the faults whose name or file contains one of these")
    parser.add_argument("--list", action="store_true", help="only name the faults")
    parser.add_argument("--write", action="store_true", help=f"write the table to {TABLE.relative_to(ROOT)}")
    options = parser.parse_args()
    faults = [
        f for f in FAULTS if not options.words or any(w.lower() in (f.name + f.file).lower() for w in options.words)
    ]
    if options.list:
        print(*(f"{fault.file}: {fault.name}" for fault in faults), sep="\n")
        return
    lines = []
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    with copied_project() as folder:
        for line in table(faults, folder):
            print(line, flush=True)
            lines.append(line)
    survivors = sum("**survives**" in line for line in lines)
    lines += ["", f"{len(faults) - survivors} of {len(faults)} faults are caught ({conditions()})."]
    print(*lines[-2:], sep="\n")
    if options.write:
        TABLE.write_text("\n".join(lines) + "\n")
    sys.exit(survivors > 0)


if __name__ == "__main__":
    main()
