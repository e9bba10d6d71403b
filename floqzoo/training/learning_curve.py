"""The learning curve of a run, as a picture."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from floqzoo.tasks.files import replacing
from floqzoo.training.metric_log import read_metrics


def plot_learning_curve(run_directory: Path, title: str, *, online_from: int | None = None) -> Path | None:
    """Draws `learning_curve.png` from a run's `eval.csv`: success over its steps, with one standard error each way.

    That is the error over episodes for one seed, and over seeds for several, whose own curves are drawn thinly. Where
    the run has evaluated its behaviour flow, that is a level line. Returns the picture's path, or None
    if the run was never evaluated.

    - `online_from`: The step from which the run was online, if it was.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not (run_directory / "eval.csv").exists():
        return None
    columns = read_metrics(run_directory / "eval.csv")
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    _draw_policy(axes, columns)
    if "behaviour/success" in columns:
        _draw_baseline(axes, columns)
    if online_from is not None:
        axes.axvline(online_from, color="grey", linestyle=":", label="from here on in the environment")
    axes.set(
        title=title, xlabel="updates" if online_from is None else "steps", ylabel="success rate (%)", ylim=(-3, 103)
    )
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    path = run_directory / "learning_curve.png"
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
    return path


Columns = dict[str, Float[np.ndarray, " rows"]]


def _draw_policy(axes: Any, columns: Columns) -> None:
    seeds = np.unique(columns["seed"])
    if len(seeds) > 1:
        for seed in seeds:
            own = columns["seed"] == seed
            axes.plot(
                columns["step"][own], 100 * columns["evaluation/success"][own], color="C0", alpha=0.3, linewidth=1
            )
    steps = np.unique(columns["step"])
    rate, error = np.array([_mean(columns, "evaluation", columns["step"] == step) for step in steps]).T
    label = "policy" if len(seeds) == 1 else f"policy, mean of {len(seeds)} seeds"
    axes.fill_between(steps, *_band(rate, error), color="C0", alpha=0.2, linewidth=0)
    axes.plot(steps, 100 * rate, color="C0", marker="o", markersize=4, label=f"{label}, ± one standard error")


def _draw_baseline(axes: Any, columns: Columns) -> None:
    known = ~np.isnan(columns["behaviour/success"])
    rate, error = _mean(columns, "behaviour", known & (columns["step"] == columns["step"][known].max()))
    axes.axhspan(*_band(rate, error), color="C1", alpha=0.15, linewidth=0)
    axes.axhline(100 * rate, color="C1", linestyle="--", label="its behaviour flow, at the end")


def _mean(columns: Columns, who: str, rows: np.ndarray) -> tuple[float, float]:
    """The success rate over the seeds of some rows, and its standard error."""
    rates = columns[f"{who}/success"][rows]
    if len(rates) == 1:
        return float(rates[0]), float(columns[f"{who}/success_standard_error"][rows][0])
    return float(rates.mean()), float(rates.std(ddof=1) / np.sqrt(len(rates)))


def _band(rate: Any, error: Any) -> tuple:
    return 100 * np.clip(rate - error, 0, 1), 100 * np.clip(rate + error, 0, 1)
