"""The `floqzoo` command."""

import os
import sys
import textwrap
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
from floqzoo.commands.train import train, train_with
from floqzoo.commands.watch import watch
from floqzoo.tasks.load import DEFAULT_DATASET_DIR
from floqzoo.tasks.shard_download import download_shards
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
    """Collects an OGBench dataset on this machine, with OGBench's scripted oracles.

    If a collection was interrupted, it resumes where it stopped. If the dataset exists already, it is reused.

    Args:
        name: The dataset, such as cube-single-play-v0.
        episodes: The number of training episodes; by default as many as in the official dataset. In addition, a tenth
            of this number is collected for validation.
        seed: The seed of all episodes; the same seed gives the same files, whatever the number of workers.
        workers: The number of processes that collect in parallel.
        directory: The output folder; by default ~/.floqzoo/collected.
    """
    path = collect_visibly(name, episodes=episodes, seed=seed, workers=workers, directory=directory)
    print(f"dataset: {path}")
    print(f"To train on it, add --dataset_path={path} to a recipe's command.")


def download(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")],
    /,
    *,
    directory: Annotated[str, tyro.conf.arg(metavar="DIR")] = DEFAULT_DATASET_DIR,
    shards: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
) -> None:
    """Downloads an OGBench dataset of 100 million transitions as a folder of files.

    An interrupted download resumes with the first missing file. Damaged files are discarded. This command is not
    needed for the smaller datasets, which the recipes download themselves.

    Args:
        name: The dataset, such as cube-quadruple-play-100m-v0.
        directory: The parent folder of all datasets.
        shards: The number of files to download, starting with the first; each comes with its validation file. By
            default all files are downloaded.
    """
    folder = download_shards(name, directory, shards=shards)
    print(f"dataset: {folder}")
    print(f"To train on it, add --dataset_path={folder} to a recipe's command.")


COMMANDS = {
    "doctor": doctor,
    "train": train,
    "collect": collect,
    "download": download,
    "convert": convert,
    "list": list_,
    "methods": methods,
    "resume": resume,
    "sweep": sweep,
    "evaluate": evaluate,
    "watch": watch,
    "plot": plot,
    "compare": compare,
    "inspect": inspect,
    "export": export,
    "profile": profile,
    "study": study,
}


def overview() -> str:
    """Lists the subcommands, each with the first line of its docstring, wrapped to 80 columns."""
    return "\n".join(
        textwrap.fill(
            str(command.__doc__).split("\n")[0],
            width=80,
            initial_indent=f"  {name:<10}",
            subsequent_indent=" " * 12,
            break_long_words=False,
        )
        for name, command in COMMANDS.items()
    )


def main() -> None:
    """Runs the `floqzoo` command; exits with status 2 for invalid input, and with 130 after Ctrl-C."""
    if sys.argv[1:] == ["--version"]:
        print(f"floqzoo {__version__}")
        return
    if sys.argv[1:] in (["--help"], ["-h"]):
        print(
            f"usage: floqzoo COMMAND ...\n\n{overview()}\n\n`floqzoo COMMAND --help` describes a command, `--version` prints the version."
        )
        return
    with errors_explained():
        if sys.argv[1:2] == ["train"] and len(sys.argv) > 2 and not sys.argv[2].startswith("-"):
            train_with(sys.argv[2], sys.argv[3:])
            return
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="floqzoo",
            use_underscores=True,
        )
