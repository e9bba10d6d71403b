"""Reports the results at the end of a run: prints a table and draws a learning curve."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from floqzoo.figures import BLUE, GREY, legend_below, new_figure, save_figure, styled
from floqzoo.rollout.evaluation import RETURN, SUCCESS, Evaluation
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.metric_log import read_metrics
from floqzoo.runs.recipe import Recipe
from floqzoo.runs.run_directory import read_phases
from floqzoo.tasks.own_task import is_reference, task_label
from floqzoo.training.trainer import TrainingResult


@styled
def plot_learning_curve(run_directory: str | Path, title: str, *, online_from: int | None = None) -> Path | None:
    """Draws `learning_curve.png` from a run's `eval.csv`: the success rate over the steps of the run, or the episode
    return if the task does not report success, with a band of ± one standard error.

    For a run with one seed, the standard error is computed over episodes. With several seeds it is computed over the
    seeds, whose curves are drawn as thin lines. A horizontal line shows the score of the behaviour flow, if it was
    evaluated. Vertical lines mark the start of online training, and the start of each phase of the agents after the
    first. Returns the path of the figure, or None if the run was never evaluated.

    - `run_directory`: The folder of the run, in which the figure is saved.
    - `title`: The title of the figure.
    - `online_from`: The step at which online training starts; None for a run without online training.
    """
    run_directory = Path(run_directory)
    if not (run_directory / "eval.csv").exists():
        return None
    columns = read_metrics(run_directory / "eval.csv")
    figure = new_figure(7.0, 4.6)
    axes = figure.subplots()
    name = SUCCESS if f"evaluation/{SUCCESS}" in columns else RETURN
    _draw_policy(axes, columns, name)
    if f"behaviour/{name}" in columns:
        _draw_baseline(axes, columns, name)
    for phase, start in read_phases(run_directory).items():
        if start:
            axes.axvline(start, color=GREY, linestyle="--", label=f"start of {phase}")
    if online_from is not None:
        axes.axvline(online_from, color=GREY, linestyle=":", label="start of online training")
    axes.set(title=title, xlabel="updates" if online_from is None else "steps")
    if name == SUCCESS:
        axes.set(ylabel="success rate (%)", ylim=(-3, 103))
    else:
        axes.set(ylabel="episode return")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    legend_below(figure, 2)
    return save_figure(figure, run_directory / "learning_curve.png")


Columns = dict[str, Float[np.ndarray, " rows"]]


def _draw_policy(axes: Any, columns: Columns, name: str) -> None:
    scale = _scale(name)
    seeds = np.unique(columns["seed"])
    if len(seeds) > 1:
        for seed in seeds:
            own = columns["seed"] == seed
            axes.plot(
                columns["step"][own], scale * columns[f"evaluation/{name}"][own], color=BLUE, alpha=0.3, linewidth=1
            )
    steps = np.unique(columns["step"])
    rate, error = np.array([_mean(columns, f"evaluation/{name}", columns["step"] == step) for step in steps]).T
    label = "policy" if len(seeds) == 1 else f"policy, mean of {len(seeds)} seeds"
    axes.fill_between(steps, *_band(name, rate, error), color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(steps, scale * rate, color=BLUE, marker="o", label=f"{label}, ± one standard error")


def _draw_baseline(axes: Any, columns: Columns, name: str) -> None:
    known = ~np.isnan(columns[f"behaviour/{name}"])
    rate, error = _mean(columns, f"behaviour/{name}", known & (columns["step"] == columns["step"][known].max()))
    axes.axhspan(*_band(name, rate, error), color=GREY, alpha=0.15, linewidth=0)
    axes.axhline(_scale(name) * rate, color=GREY, linestyle="--", label="behaviour flow, at the end")


def _scale(name: str) -> float:
    return 100.0 if name == SUCCESS else 1.0


def _mean(columns: Columns, metric: str, rows: np.ndarray) -> tuple[float, float]:
    """The mean of a metric over the selected rows, one for each seed, and its standard error; 0 if that is unknown, as
    for a single episode."""
    rates = columns[metric][rows]
    if len(rates) == 1:
        error = columns.get(f"{metric}_standard_error", np.zeros(len(rows)))
        return float(rates[0]), float(error[rows][0])
    return float(rates.mean()), float(rates.std(ddof=1) / np.sqrt(len(rates)))


def _band(name: str, rate: Any, error: Any) -> tuple:
    if name != SUCCESS:
        return rate - error, rate + error
    return 100 * np.clip(rate - error, 0, 1), 100 * np.clip(rate + error, 0, 1)


def report(recipe: Recipe, config: RunConfig, result: TrainingResult, directory: Path, data_seconds: float) -> None:
    """Prints the results of a run as a table, and draws the learning curve if the run was evaluated."""
    from rich.console import Console
    from rich.table import Table

    title = f"{recipe.name} on {task_label(config.env_name)}"
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
    success = all(evaluation.reports_success for evaluation in result.evaluations.values())
    facts = _score("success rate" if success else "episode return", result.evaluations)
    facts |= _score("behaviour policy alone", result.baselines)
    if result.evaluations:
        timing = "" if is_reference(config.env_name) else f", success timing {config.success_timing}"
        facts["evaluation episodes"] = f"{config.eval_episodes} each{timing}"
    if config.online_steps:
        facts["environment steps"] = f"{max(0, result.steps - config.offline_steps):,}"
    if result.updates:
        facts["updates"] = f"{result.updates:,}, {result.updates_per_second:,.1f} a second"
    times = {
        "data": data_seconds,
        "compilation": result.seconds.compilation,
        "training": result.seconds.updates,
        "evaluation": result.seconds.evaluation,
        "waiting for evaluations": result.seconds.waiting,
    }
    if round(result.seconds.reading):
        times["waiting for shards"] = result.seconds.reading
    return facts | {"time": ", ".join(f"{part} {_duration(seconds)}" for part, seconds in times.items())}


def _score(name: str, evaluations: dict[int, Evaluation]) -> dict[str, str]:
    """The score of a single seed as text, by `name`; for several seeds, the mean, its standard error and all scores."""
    if not evaluations:
        return {}
    if len(evaluations) == 1:
        return {name: str(*evaluations.values())}
    if all(evaluation.reports_success for evaluation in evaluations.values()):
        scores, form, unit = 100 * np.array([e.success_rate for e in evaluations.values()]), ".0f", " %"
    else:
        scores, form, unit = np.array([e.mean_return for e in evaluations.values()]), ".4g", ""
    error = scores.std(ddof=1) / np.sqrt(len(scores))
    each = ", ".join(f"{seed}: {score:{form}}{unit}" for seed, score in zip(evaluations, scores, strict=True))
    return {name: f"{scores.mean():{form}} ± {error:{form}}{unit} over {len(scores)} seeds ({each})"}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
