"""The learning curve of a run, as a picture."""

from pathlib import Path

import numpy as np

from floqzoo.tasks.files import replacing
from floqzoo.training.metric_log import read_metrics


def plot_learning_curve(run_directory: Path, title: str) -> Path | None:
    """Draws `learning_curve.png` from a run's `eval.csv`: success over updates, with one standard error each way.

    Where the run has evaluated its behaviour flow, that is a level line. Returns the picture's path, or None
    if the run was never evaluated.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not (run_directory / "eval.csv").exists():
        return None
    columns = read_metrics(run_directory / "eval.csv")
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    steps, rate, error = columns["step"], columns["evaluation/success"], columns["evaluation/success_standard_error"]
    axes.fill_between(steps, *_band(rate, error), color="C0", alpha=0.2, linewidth=0)
    axes.plot(steps, 100 * rate, color="C0", marker="o", markersize=4, label="policy, ± one standard error")
    if "behaviour/success" in columns:
        _draw_baseline(axes, columns["behaviour/success"], columns["behaviour/success_standard_error"])
    axes.set(title=title, xlabel="updates", ylabel="success rate (%)", ylim=(-3, 103))
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    path = run_directory / "learning_curve.png"
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
    return path


def _draw_baseline(axes, rates: np.ndarray, errors: np.ndarray) -> None:
    known = np.flatnonzero(~np.isnan(rates))[-1]
    axes.axhspan(*_band(rates[known], errors[known]), color="C1", alpha=0.15, linewidth=0)
    axes.axhline(100 * rates[known], color="C1", linestyle="--", label="its behaviour flow, at the end")


def _band(rate, error) -> tuple:
    return 100 * np.clip(rate - error, 0, 1), 100 * np.clip(rate + error, 0, 1)
