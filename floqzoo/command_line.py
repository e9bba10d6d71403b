"""The command `floqzoo`."""

import os
import sys
from typing import Annotated

import tyro

from floqzoo._version import __version__
from floqzoo.commands.compare import compare
from floqzoo.commands.convert import convert
from floqzoo.commands.doctor import doctor
from floqzoo.commands.evaluate import evaluate
from floqzoo.commands.export import export
from floqzoo.commands.inspect import inspect
from floqzoo.commands.list import list_
from floqzoo.commands.methods import methods
from floqzoo.commands.plot import plot
from floqzoo.commands.profile import profile
from floqzoo.commands.resume import resume
from floqzoo.commands.study import study
from floqzoo.commands.sweep import sweep
from floqzoo.training.cli_errors import errors_explained
from floqzoo.training.prepared_run import collect_visibly


def collect(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")],
    /,
    *,
    episodes: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    seed: int = 0,
    workers: int = os.cpu_count() or 1,
    directory: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None,
) -> None:
    """Collects an OGBench dataset on this machine, with OGBench's own scripted oracles.

    A collection that was interrupted goes on where it stopped; one that is finished is kept and used again.

    Args:
        name: The dataset, such as cube-single-play-v0.
        episodes: Episodes to train on; without it as many as the official dataset has. A tenth as many come on
            top for validation.
        seed: Seeds every episode; the same seed gives the same files, whatever the number of workers.
        workers: Processes that collect at once.
        directory: Where the files go; without it ~/.floqzoo/collected.
    """
    path = collect_visibly(name, episodes=episodes, seed=seed, workers=workers, directory=directory)
    print(f"dataset: {path}")
    print(f"To train on it, add --dataset_path={path} to a recipe's command.")


COMMANDS = {
    "doctor": doctor,
    "collect": collect,
    "convert": convert,
    "list": list_,
    "methods": methods,
    "resume": resume,
    "sweep": sweep,
    "evaluate": evaluate,
    "plot": plot,
    "compare": compare,
    "inspect": inspect,
    "export": export,
    "profile": profile,
    "study": study,
}


def main() -> None:
    """The console entry; ends the program with status 2 after a user's mistake, 130 after Ctrl-C."""
    if sys.argv[1:] == ["--version"]:
        print(f"floqzoo {__version__}")
        return
    with errors_explained():
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="floqzoo",
            description="A modular zoo of flow-matching reinforcement learning. Methods are trained by programs of "
            "their own, see `python recipes/floq.py --help`; here is what goes with them. --version tells the version.",
            use_underscores=True,
        )
