"""Runs one trial of a sweep, as a program: `python -m floqzoo.sweeps.run_trial --help`.

A new run is started, an interrupted run is resumed, and a finished run is left unchanged. The exit status is
`NO_DATA` if the data could not be downloaded, `UNEXPECTED` after an error with a traceback, and otherwise the same as
if the recipe had been run directly.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from floqzoo.learner.compilation_cache import use_compilation_cache
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.recipe import Recipe, find_recipe, load_recipe
from floqzoo.runs.run_directory import run_locked
from floqzoo.runs.stored_run import StoredRun
from floqzoo.sweeps.attempt import END_WITH_PARENT
from floqzoo.sweeps.ending import NO_DATA, UNEXPECTED
from floqzoo.sweeps.trial_state import has_begun, is_finished, mark_finished
from floqzoo.tasks.download import DownloadError
from floqzoo.tasks.own_task import is_reference
from floqzoo.training.cli_errors import errors_explained, leave, status_of
from floqzoo.training.command_line import parse_arguments
from floqzoo.training.interruption import signal_of
from floqzoo.training.prepared_run import PreparedRun, prepare, run_and_report
from floqzoo.training.resumption import IMMATERIAL, differences, prepare_resumed


PATIENCE_SECONDS = 60.0
"""The maximum time in seconds that a trial waits for another process, such as one on a lost machine, to release its
folder."""


def main(words: Sequence[str]) -> None:
    """Runs a trial, given the command-line arguments of this program.

    An expected error is printed as a one-line message. The exit status is then `NO_DATA` if the data could not be
    downloaded, and otherwise the same as if the recipe had been run directly.
    """
    if END_WITH_PARENT in os.environ:
        _end_with_parent()
    with errors_explained():
        directory, recipe, rest = _arguments(words)
        config = parse_arguments(recipe, rest)
        if is_finished(directory):
            print(f"{directory} is finished.")
            return
        use_compilation_cache(config.compilation_cache)
        directory.mkdir(parents=True, exist_ok=True)
        _wait_for_others(directory)
        run = _begin_or_go_on(recipe, config, directory)
    run_and_report(run)
    mark_finished(directory)


def _arguments(words: Sequence[str]) -> tuple[Path, Recipe, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m floqzoo.sweeps.run_trial",
        description="Runs one trial of a sweep. All other flags are those of the recipe.",
        epilog="A new run is started, an interrupted run is resumed, and a finished run is left unchanged.",
        allow_abbrev=False,
    )
    parser.add_argument("--run_directory", required=True, type=Path, help="the folder of the run")
    parser.add_argument("--recipe", required=True, help="a recipe's name, or a file of your own, which is executed")
    found, rest = parser.parse_known_args(words)
    own = found.recipe.endswith(".py")
    return found.run_directory, load_recipe(found.recipe) if own else find_recipe(found.recipe), rest


def _begin_or_go_on(recipe: Recipe, config: RunConfig, directory: Path) -> PreparedRun:
    said = ""
    while True:
        try:
            if not has_begun(directory):
                return prepare(recipe, config, directory)
            _refuse_other_settings(recipe, config, directory)
            # The sweep file names the task, so its code may be executed.
            task = config.env_name if is_reference(config.env_name) else None
            return prepare_resumed(directory, recipe=recipe, task=task)
        except BlockingIOError as error:  # another trial is collecting or downloading the same data
            if str(error) != said:
                said = str(error)
                print(said, flush=True)
            time.sleep(10)
        except DownloadError as error:
            leave(f"error: {error}", NO_DATA)


def _refuse_other_settings(recipe: Recipe, config: RunConfig, directory: Path) -> None:
    stored = StoredRun(directory).flags
    wanted = json.loads(json.dumps({"recipe": recipe.name, **asdict(config)}))
    other = differences(stored, wanted, but=IMMATERIAL)
    if other:
        raise ValueError(f"{directory} contains a run with different settings: {'; '.join(other)}.")


def _wait_for_others(directory: Path) -> None:
    """Waits until no other process trains in the folder; one on a lost machine may take a moment to end.

    **Raises** `BlockingIOError` if it does not end within `PATIENCE_SECONDS`.
    """
    latest = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with run_locked(directory):
                return
        except BlockingIOError:
            if time.monotonic() > latest:
                raise
            time.sleep(0.5)


def _end_with_parent() -> None:
    """Makes this process and its children end as soon as the parent process has ended.

    The parent holds the other end of standard input and writes nothing, so reading returns when the parent ends, even
    if it is killed.
    """

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    # Slurm sends this signal as a warning to the parent, which then stops this process.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt as interrupt:  # before there was anything to save
        leave("Interrupted.", status_of(signal_of(interrupt)))
    except Exception:
        traceback.print_exc()
        sys.exit(UNEXPECTED)
