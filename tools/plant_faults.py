"""Plants known faults in a copy of the package, one by one, and tells which test catches each.

    python tools/plant_faults.py                # every fault of tools/faults.py
    python tools/plant_faults.py Euler "prior"  # those whose name contains one of the words
    python tools/plant_faults.py --list         # what would be planted

Prints a table in Markdown, and fails if a fault survives. Each fault costs a run of its tests up to the first that
fails, so the whole takes a while; it is no part of the continuous checks.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from faults import FAULTS, Fault


ROOT = Path(__file__).parents[1]
COPIED = ("floqzoo", "recipes", "tests", "pyproject.toml")


def copy_project(folder: Path) -> None:
    """Copies what the tests need into an empty folder."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def plant(fault: Fault, folder: Path) -> None:
    """Puts a fault into a copy of the project.

    **Raises** `ValueError` if the sound text does not occur exactly once, so that no fault is planted in vain.
    """
    path = folder / fault.file
    text = path.read_text()
    if text.count(fault.sound) != 1:
        raise ValueError(
            f"{fault.name}: {fault.sound!r} must occur once in {fault.file}; it does {text.count(fault.sound)} times."
        )
    path.write_text(text.replace(fault.sound, fault.faulty))


def run_tests(tests: tuple[str, ...], folder: Path) -> subprocess.CompletedProcess:
    """Runs some tests in a copy, up to the first failure."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def first_failure(output: str) -> str:
    """The name of the test that failed first, as pytest's summary has it."""
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    return found[1] if found else "the run itself"


def caught_by(fault: Fault) -> str | None:
    """The test that catches a fault, or `None` if it survives."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_project(folder)
        plant(fault, folder)
        run = run_tests(fault.tests, folder)
    return None if run.returncode == 0 else first_failure(run.stdout)


def require_sound(faults: list[Fault]) -> None:
    """Checks that the tests pass without a fault: a suite that fails anyway catches nothing.

    **Raises** `SystemExit` otherwise, with what pytest says.
    """
    tests = tuple(dict.fromkeys(test for fault in faults for test in fault.tests))
    with tempfile.TemporaryDirectory() as name:
        copy_project(Path(name))
        run = run_tests(tests, Path(name))
    if run.returncode != 0:
        sys.exit(f"{run.stdout}\nThe tests fail without any fault.")


def main() -> None:
    """Plants the chosen faults and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="plant the faults whose name contains one of these; all by default")
    parser.add_argument("--list", action="store_true", help="only name the faults")
    parser.add_argument("--trust", action="store_true", help="do not first run the tests without a fault")
    options = parser.parse_args()
    faults = [f for f in FAULTS if not options.words or any(word.lower() in f.name.lower() for word in options.words)]
    if options.list:
        print(*(f"{fault.file}: {fault.name}" for fault in faults), sep="\n")
        return
    if not options.trust:
        require_sound(faults)
    print("| fault | in | caught by | s |\n|---|---|---|---|", flush=True)
    survivors = 0
    for fault in faults:
        start = time.monotonic()
        test = caught_by(fault)
        survivors += test is None
        verdict = "**survives**" if test is None else f"`{test}`"
        print(f"| {fault.name} | `{fault.file}` | {verdict} | {time.monotonic() - start:.0f} |", flush=True)
    print(f"\n{len(faults) - survivors} of {len(faults)} faults are caught.")
    sys.exit(survivors > 0)


if __name__ == "__main__":
    main()
