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
    """Inspects the flow critic of a run: how noise is transported to values, and whether the values are accurate.

    Writes figures and tables, and prints the main results: value trajectories, the variance of Q over noise, the
    curvature of the trajectories, the norm and the effective rank of the last features, Q for different numbers of
    solver steps, Q against the returns of played episodes, and a map of values for pointmaze.

    Args:
        run: The folder of the run.
        out: The folder for figures and tables.
        seed: A seed of the run; by default the first.
        step: The step of the checkpoint; by default the last one.
        episodes: The number of episodes to play.
        transitions: The number of transitions to draw from the run's data.
        dataset_path: The location of the run's data, if they were moved.
        recipe: The file of your own recipe, which is executed; by default the floqzoo recipe of the run.
        task: Your own task, whose code is executed; by default the OGBench task of the run.
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
