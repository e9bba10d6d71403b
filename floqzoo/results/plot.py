"""Plots the learning curves of several runs in one figure."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from floqzoo.figures import PALETTE, WIDTH, legend_below, method_colours, new_figure, save_figure, styled
from floqzoo.results.find_runs import open_runs
from floqzoo.results.reference_scores import ReferenceGroup, ReferenceScore, reference_groups
from floqzoo.results.series import Gathered, Series, gather, headline
from floqzoo.runs.run_store import RETURN_METRIC, SUCCESS_METRIC
from floqzoo.studies.statistics import bootstrap_interval, interquartile_mean


LABELS = {SUCCESS_METRIC: "success rate (%)", RETURN_METRIC: "episode return"}
DASHES = ("-", "--", "-.", ":")
MARKERS = ("D", "s", "^", "v", "P", "X", "*", "<", ">")


def plot_runs(
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    metric: str | None = None,
    confidence: float = 0.95,
    distinguishing: Sequence[str] = (),
    reference: Sequence[ReferenceScore] = (),
) -> tuple[str, ...]:
    """Plots a metric over the steps of runs, with a panel for each task and a line for each method; saves it as PNG.

    Lines show the interquartile mean over seeds, and bands show its bootstrap interval (see `bootstrap_interval`); a
    method with one seed has no band. Steps are offline updates followed by environment steps. A vertical line marks the
    start of each phase of a method after the first, such as fine-tuning. Returns notes, such as which runs were left
    out.

    - `runs`: Folders of runs, or folders that contain runs.
    - `out`: The path of the figure, which must end in `.png`.
    - `metric`: A column of `eval.csv` or `train.csv`; None for the success rate, or for the mean return if no run has a
      success rate.
    - `confidence`: The confidence level of the bootstrap intervals, in (0, 1).
    - `distinguishing`: Run settings, such as "precision", that distinguish methods in addition to the agent's settings.
    - `reference`: Scores from other sources, as returned by `read_reference_scores`. They are drawn in grey, with a
      line for each method, source and protocol, in the panels of the tasks to which the scores refer.

    **Raises** `ValueError` if `out` does not end in `.png`, if `confidence` is out of range, if no run has the
    metric, or if the runs must not be mixed in one figure (the message contains the reason); `FileNotFoundError` if a
    folder does not exist or contains no run; `ModuleNotFoundError` if matplotlib is not installed.
    """
    path = Path(out)
    if path.suffix != ".png":
        raise ValueError(f"`out` must end in .png; got {out}.")
    opened = open_runs([Path(run) for run in runs])
    metric = metric or headline(opened)
    gathered = gather(opened, metric, distinguishing)
    references = reference_groups(reference, gathered.tasks, metric)
    figure = draw(gathered, metric, confidence, references)
    save_figure(figure, path)
    return (*gathered.notes, *_notes_on_length(gathered), *_notes_on_references(references))


@styled
def draw(gathered: Gathered, metric: str, confidence: float = 0.95, references: Sequence[ReferenceGroup] = ()) -> Any:
    """Draws the figure of `plot_runs`, and returns it without saving it."""
    tasks = gathered.tasks
    columns = min(len(tasks), 2)
    rows = -(-len(tasks) // columns)
    figure = new_figure(WIDTH if columns == 2 else 5.8, 0.8 + 3.0 * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    colours = method_colours(gathered.methods)
    looks = {method: _look(colours[method], index) for index, method in enumerate(gathered.methods)}
    for task, axes in zip(tasks, panels, strict=False):
        for series in gathered.of_task(task):
            _draw_series(axes, series, metric, confidence, looks[series.method])
        here = [(number, group) for number, group in enumerate(references, 1) if group.concerns(task)]
        for index, (number, group) in enumerate(here):
            _draw_reference(axes, group, number, metric, index)
        _finish(axes, task, metric, gathered.unit, 56 // columns)
    for axes in panels[len(tasks) :]:
        axes.set_visible(False)
    legend_below(figure, 2)
    return figure


def _draw_series(axes: Any, series: Series, metric: str, confidence: float, look: dict[str, Any]) -> None:
    steps, scale = series.common_steps, _scale(metric)
    estimates = [
        bootstrap_interval(interquartile_mean, [scale * series.at(step)], confidence=confidence) for step in steps
    ]
    count = len(series.points)
    label = f"{series.method} ({count} seed{'s' if count > 1 else ''})"
    marker = "o" if len(steps) <= 30 else None
    axes.plot(steps, [e.value for e in estimates], label=label, marker=marker, **look)
    low, high = ([getattr(e, end) for e in estimates] for end in ("low", "high"))
    axes.fill_between(steps, low, high, color=look["color"], alpha=0.18, linewidth=0)
    for phase, start in series.phases.items():
        if start:
            axes.axvline(start, color=look["color"], linestyle=":", linewidth=1, label=f"{series.method}: {phase}")


def _draw_reference(axes: Any, group: ReferenceGroup, number: int, metric: str, index: int) -> None:
    steps, values = zip(*((step, _scale(metric) * value) for step, value in group.curve), strict=True)
    label, grey = f"{group.method} [{number}]", str(0.35 + 0.1 * (index % 4))
    axes.plot(steps, values, label=label, color=grey, linestyle=":", marker=MARKERS[index % len(MARKERS)], markersize=5)


def _finish(axes: Any, task: str, metric: str, unit: str, title_width: int) -> None:
    axes.set_title(fill(task.removesuffix("-v0"), title_width))
    axes.set(xlabel=unit, ylabel=LABELS.get(metric, metric))
    if metric == SUCCESS_METRIC:
        axes.set_ylim(-3, 103)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: _thousands(value))


def _look(colour: str, index: int) -> dict[str, Any]:
    """The colour and line style of a method, which are the same in every panel."""
    return {"color": colour, "linestyle": DASHES[index // len(PALETTE) % len(DASHES)]}


def _scale(metric: str) -> float:
    return 100.0 if metric == SUCCESS_METRIC else 1.0


def _thousands(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e3 else f"{value:g}"


def _notes_on_length(gathered: Gathered) -> list[str]:
    """Notes on lines that end before the last step of their longest seed."""
    notes = []
    for series in gathered.series:
        last, shown = series.last_steps, max(series.common_steps, default=0)
        if max(last.values()) > shown:
            notes.append(
                f"{series.method} on {series.task} is drawn up to {shown:,} updates, the last step that all its "
                f"{len(last)} seeds have; the longest has {max(last.values()):,}."
            )
    return notes


def _notes_on_references(references: Sequence[ReferenceGroup]) -> list[str]:
    """The environment, source and protocol of each numbered reference in a legend."""
    return [
        f"[{number}] {group.method} on {group.environment}: {group.source}; {group.protocol}."
        for number, group in enumerate(references, 1)
    ]
