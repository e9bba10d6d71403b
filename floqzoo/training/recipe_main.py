"""What every recipe does when it is run as a program."""

import sys
import time
from pathlib import Path

import jax

from floqzoo.training.arguments import parse_arguments
from floqzoo.training.configuration import RunConfig
from floqzoo.training.data import load_task
from floqzoo.training.door import FAILED, INTERRUPTED, errors_explained, leave
from floqzoo.training.learning_curve import plot_learning_curve
from floqzoo.training.loop import TrainingResult, train
from floqzoo.training.metric_mean import NonFiniteError
from floqzoo.training.recipe import Recipe
from floqzoo.training.run_directory import new_run_directory, record_data, record_flags, record_machine


def run_recipe(recipe: Recipe) -> None:
    """Runs a recipe from the words of the command line: data, training, evaluation, a table and a picture.

    Ends the program with status 2 after a user's mistake, 130 after Ctrl-C and 1 where numbers became NaN or
    infinite, each with one line that says so.
    """
    start = time.monotonic()
    with errors_explained():
        config = parse_arguments(recipe, sys.argv[1:])
        task = load_task(config)
        agent = recipe.build(
            observation_dim=task.observation_dim,
            action_dim=task.action_dim,
            reward_range=task.reward_range,
            config=config.agent,
            key=jax.random.fold_in(jax.random.key(config.seed), 0),
        )
        directory = new_run_directory(config.save_dir, config.run_group, config.seed)
        record_flags(directory, recipe.name, config)
        record_machine(directory)
        record_data(directory, task)
    data_seconds = time.monotonic() - start
    try:
        result = train(agent, task, config, directory)
    except NonFiniteError as error:
        leave(f"error: {error}", FAILED)
    report(recipe, config, result, directory, data_seconds)
    if result.interrupted:
        leave(f"Interrupted after {result.steps:,} updates; metrics and a checkpoint are in {directory}.", INTERRUPTED)


def report(recipe: Recipe, config: RunConfig, result: TrainingResult, directory: Path, data_seconds: float) -> None:
    """Prints what came out of a run, and draws its learning curve."""
    from rich.console import Console
    from rich.table import Table

    title = f"{recipe.name} on {config.env_name}"
    table = Table(title=f"{title}, seed {config.seed}", show_header=False, title_justify="left")
    for name, value in _facts(config, result, data_seconds).items():
        table.add_row(name, value)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    if result.evaluation is not None:
        console.print(f"learning curve: {_draw(directory, title)}")
    console.print(f"run directory: {directory}")


def _draw(directory: Path, title: str) -> str:
    try:
        return str(plot_learning_curve(directory, title))
    except ModuleNotFoundError:
        return "not drawn, since matplotlib is not installed: pip install 'floqzoo[plots]'"


def _facts(config: RunConfig, result: TrainingResult, data_seconds: float) -> dict[str, str]:
    facts = {}
    if result.evaluation is not None:
        facts["success rate"] = str(result.evaluation)
    if result.baseline is not None:
        facts["its behaviour flow (imitation alone)"] = str(result.baseline)
    if result.evaluation is not None:
        facts["evaluation episodes"] = f"{result.evaluation.episodes} each, success timing {config.success_timing}"
    if result.steps:
        facts["updates"] = f"{result.steps:,}, {result.updates_per_second:,.1f} a second"
    times = {
        "data": data_seconds,
        "compilation": result.seconds.compilation,
        "training": result.seconds.updates,
        "evaluation": result.seconds.evaluation,
    }
    return facts | {"time": ", ".join(f"{part} {_duration(seconds)}" for part, seconds in times.items())}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
