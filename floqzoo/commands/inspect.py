"""`floqzoo inspect`."""

from pathlib import Path
from typing import Annotated

import tyro


def inspect(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    *,
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")],
    seed: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    step: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    episodes: int = 10,
    transitions: int = 512,
    dataset_path: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None,
    recipe: Annotated[Path | None, tyro.conf.arg(metavar="FILE.py")] = None,
    task: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None,
) -> None:
    """Looks inside a run's flow critic: how noise becomes a value, and whether the value is right.

    Writes figures and tables, and prints their numbers: value paths, the variance of Q over noise, the curvature of the
    paths, the norm and the effective rank of the last features, Q by the number of solver steps, Q against the returns
    of episodes that are played for it, and for pointmaze the value of every place.

    Args:
        run: The run's folder.
        out: The folder for figures and tables.
        seed: Which seed of the run; without it the first.
        step: The updates of the checkpoint; without it the last one.
        episodes: How many to play.
        transitions: How many to draw from the run's data.
        dataset_path: Where the run's data are, if no longer where they were.
        recipe: The file of a recipe of your own, which is executed; without it the recipe of floqzoo that the run names.
        task: A task of your own, whose code is executed; without it the task of OGBench that the run names.
    """
    from floqzoo.results.inspection import described
    from floqzoo.results.run_inspection import inspect_run
    from floqzoo.results.text_table import text_table
    from floqzoo.runs.recipe import load_recipe

    found, files = inspect_run(
        run,
        out,
        seed=seed,
        step=step,
        episodes=episodes,
        transitions=transitions,
        dataset_path=dataset_path,
        recipe=recipe and load_recipe(recipe),
        task=task,
    )
    title = f"The flow critic of {run}, seed {found.seed}, {found.step:,} updates"
    print(text_table(title, ["", ""], described(found)), end="")
    for file in files:
        print(file)
