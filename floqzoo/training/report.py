"""What is printed at the end of a run."""

from pathlib import Path

import numpy as np

from floqzoo.training.configuration import RunConfig
from floqzoo.training.evaluation import Evaluation
from floqzoo.training.learning_curve import plot_learning_curve
from floqzoo.training.recipe import Recipe
from floqzoo.training.training_result import TrainingResult


def report(recipe: Recipe, config: RunConfig, result: TrainingResult, directory: Path, data_seconds: float) -> None:
    """Prints what came out of a run, and draws its learning curve."""
    from rich.console import Console
    from rich.table import Table

    title = f"{recipe.name} on {config.env_name}"
    table = Table(title=f"{title}, {_seeds(result.seeds)}", show_header=False, title_justify="left")
    for name, value in _facts(config, result, data_seconds).items():
        table.add_row(name, value)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    if result.evaluations:
        online_from = config.offline_steps if config.online_steps else None
        console.print(f"learning curve: {_draw(directory, title, online_from)}")
    console.print(f"run directory: {directory}")


def _seeds(seeds: tuple[int, ...]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"


def _draw(directory: Path, title: str, online_from: int | None) -> str:
    try:
        return str(plot_learning_curve(directory, title, online_from=online_from))
    except ModuleNotFoundError:
        return "not drawn, since matplotlib is not installed: pip install 'floqzoo[plots]'"


def _facts(config: RunConfig, result: TrainingResult, data_seconds: float) -> dict[str, str]:
    facts = _success("success rate", result.evaluations)
    facts |= _success("its behaviour flow (imitation alone)", result.baselines)
    if result.evaluations:
        facts["evaluation episodes"] = f"{config.eval_episodes} each, success timing {config.success_timing}"
    if config.online_steps:
        facts["steps in the environment"] = f"{max(0, result.steps - config.offline_steps):,}"
    if result.updates:
        facts["updates"] = f"{result.updates:,}, {result.updates_per_second:,.1f} a second"
    times = {
        "data": data_seconds,
        "compilation": result.seconds.compilation,
        "training": result.seconds.updates,
        "evaluation": result.seconds.evaluation,
        "waiting for it": result.seconds.waiting,
    }
    return facts | {"time": ", ".join(f"{part} {_duration(seconds)}" for part, seconds in times.items())}


def _success(name: str, evaluations: dict[int, Evaluation]) -> dict[str, str]:
    """The success rate of a single seed; of several their mean, its standard error over them, and each of them."""
    if not evaluations:
        return {}
    if len(evaluations) == 1:
        return {name: str(*evaluations.values())}
    rates = 100 * np.array([evaluation.success_rate for evaluation in evaluations.values()])
    error = rates.std(ddof=1) / np.sqrt(len(rates))
    each = ", ".join(f"{seed}: {rate:.0f} %" for seed, rate in zip(evaluations, rates, strict=True))
    return {name: f"{rates.mean():.0f} ± {error:.0f} % over {len(rates)} seeds ({each})"}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
