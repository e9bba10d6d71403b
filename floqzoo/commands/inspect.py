"""The `floqzoo inspect` command."""

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
    transitions: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    dataset_path: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None,
    recipe: Annotated[Path | None, tyro.conf.arg(metavar="FILE.py")] = None,
    task: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME")] = None,
) -> None:
    """Inspects the flow critic or the successor measure of a run.

    Writes figures and tables, and prints the main results. For a flow critic: value trajectories, the variance of Q
    over noise, the curvature of the trajectories, the norm and the effective rank of the last features, Q for different
    numbers of solver steps, Q against the returns of played episodes, and a map of values for pointmaze. For a
    successor measure: sampled futures next to the states of episodes, their distances from the initial state, and
    values next to returns.

    Args:
        run: The folder of the run.
        out: The folder for figures and tables.
        seed: A seed of the run; by default the first one.
        step: The step of the checkpoint; by default the last one.
        episodes: The number of episodes to play. For a successor measure of the policy that collected the data, no
            episodes are played, and this is the number of recorded episodes to use.
        transitions: For a flow critic, the number of transitions to draw from the run's data; by default 512.
        dataset_path: The new location of the run's data, if they were moved.
        recipe: The file of your own recipe, which is executed; by default the floqzoo recipe of the run.
        task: Your own task, whose code is executed; by default the OGBench task of the run.
    """
    from floqzoo.results.future_inspection import has_successor_measure, inspect_futures
    from floqzoo.results.inspection import described
    from floqzoo.results.run_inspection import inspect_run
    from floqzoo.results.text_table import text_table
    from floqzoo.runs.recipe import find_recipe, load_recipe
    from floqzoo.runs.stored_run import StoredRun

    stored = StoredRun(run)
    used = load_recipe(recipe) if recipe else find_recipe(stored.recipe_name)
    settings = {
        "seed": seed,
        "step": step,
        "episodes": episodes,
        "dataset_path": dataset_path,
        "recipe": used,
        "task": task,
    }
    if has_successor_measure(stored, used):
        _require_none(transitions, stored.recipe_name)
        report, files = inspect_futures(run, out, **settings)
        report.show()
    else:
        found, files = inspect_run(run, out, transitions=512 if transitions is None else transitions, **settings)
        title = f"The flow critic of {run}, seed {found.seed}, {found.step:,} updates"
        print(text_table(title, ["", ""], described(found)), end="")
    for file in files:
        print(file)


def _require_none(transitions: int | None, recipe_name: str) -> None:
    if transitions is not None:
        raise ValueError(f"`transitions` must not be given for a run of {recipe_name}, which has a successor measure.")
