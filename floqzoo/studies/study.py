"""Runs studies that test claims, and reports their measurements and verdicts."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import fill
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from floqzoo.figures import WIDTH, legend_below, method_colours, new_figure, save_figure, styled, ticks_at
from floqzoo.records import Transition
from floqzoo.studies.report import markdown_table, number, read_rows, read_table, write_rows
from floqzoo.studies.statistics import Estimate, bootstrap_interval, interquartile_mean


@dataclass(frozen=True)
class Measurement:
    """The value of one metric of one trained agent.

    - `task`: The task on which the agent was trained.
    - `arm`: The compared variant: a kind of critic, or a setting.
    - `level`: The value of the varied quantity, such as the scale of the noise in the targets.
    - `seed`: The seed of the agent; agents with the same seed are compared across arms and levels.
    - `metric`, `value`: The metric and its value.
    """

    task: str
    arm: str
    level: float
    seed: int
    metric: str
    value: float


def measurements(arm: str, level: float | int, metrics: Mapping[str, Any]) -> list[Measurement]:
    """Returns the measurements of all seeds of one arm at one level in the maze of `critic_lab`.

    - `metrics`: Maps the name of each metric to an array with one number per seed.
    """
    return [
        Measurement("CellMaze", arm, float(level), seed, metric, float(value))
        for metric, values in metrics.items()
        for seed, value in enumerate(np.asarray(values))
    ]


class Table:
    """A collection of measurements that can be looked up by arm, level and metric."""

    def __init__(self, rows: Iterable[Measurement]):
        self.rows = tuple(rows)

    @property
    def arms(self) -> list[str]:
        """The arms, in the order in which they were measured."""
        return list(dict.fromkeys(row.arm for row in self.rows))

    @property
    def by_task(self) -> dict[str, "Table"]:
        """The measurements of each task, by its name."""
        tasks = dict.fromkeys(row.task for row in self.rows)
        return {task: Table(row for row in self.rows if row.task == task) for task in tasks}

    def paired(self, cells: Collection[tuple[str, float]]) -> "Table":
        """Returns the measurements of those tasks and seeds for which all given pairs of arm and level were measured."""
        found: dict[tuple[str, int], set[tuple[str, float]]] = {}
        for row in self.rows:
            found.setdefault((row.task, row.seed), set()).add((row.arm, row.level))
        return Table(row for row in self.rows if found[row.task, row.seed] >= set(cells))

    def levels(self, arm: str, metric: str) -> list[float]:
        """Returns the levels at which a metric of an arm was measured, in ascending order."""
        return sorted({row.level for row in self.rows if (row.arm, row.metric) == (arm, metric)})

    def of(self, arm: str, level: float | int, metric: str) -> Float[np.ndarray, " seeds"]:
        """Returns the values of a metric for all seeds, in the order of the seeds, in a table of a single task.

        **Raises** `ValueError` if there is no such measurement.
        """
        wanted = (arm, level, metric)
        found = sorted((row.seed, row.value) for row in self.rows if (row.arm, row.level, row.metric) == wanted)
        if not found:
            raise ValueError(f"there is no measurement of {metric!r} for {arm!r} at level {level}.")
        return np.array([value for _, value in found])


Effect = Callable[[Table], Float[np.ndarray, " seeds"]]


@dataclass(frozen=True)
class Statement:
    """A testable statement that is part of a claim.

    - `text`: The statement, as a sentence that is true or false.
    - `effect`: A function that computes the effect size for each seed from the `Table` of one task; positive if the
      statement holds.
    - `unit`: The unit of the effect.
    - `margin`: How far the effect may lie below 0 if the statement says that something is not worse, or no different.
    """

    text: str
    effect: Effect
    unit: str
    margin: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """The verdict on a statement, with the effect size.

    - `effect`: The interquartile mean over tasks and seeds with its 95 % bootstrap interval, stratified by task.
    - `verdict`: "reproduced" if the interval lies above minus the margin of the statement, "not reproduced" if it lies
      below, and "undecided" otherwise.
    """

    statement: Statement
    effect: Estimate
    verdict: str

    def __str__(self) -> str:
        """Formats the effect with its interval and its unit."""
        return f"{_with_interval(self.effect)} {self.statement.unit}"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What an experiment measures, and how it is judged and drawn.

    - `design`: A description of the training and the measurements, in a few sentences.
    - `level`: The axis label for the levels; None if there is only one level.
    - `panels`: The title of the panel for each metric; a unit in brackets at the end of a title labels the axis.
    - `statements`: The statements by which the claim is judged.
    - `log_level`: Whether the level axis is logarithmic.
    """

    design: str
    level: str | None
    panels: Mapping[str, str]
    statements: Sequence[Statement]
    log_level: bool = False


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One arm at one level, trained by a recipe.

    - `arm`, `level`: As in `Measurement`.
    - `recipe`: The name of the recipe.
    - `fields`: The settings that the variant changes, by dotted name, as in a sweep file.
    - `preset`: The preset of the recipe; None for the preset of the scale.
    """

    arm: str
    recipe: str
    level: float = 0.0
    fields: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunExperiment(Experiment):
    """An experiment whose agents are trained by recipes on OGBench.

    - `variants`: A function from the name of a scale to the variants, which are all trained with the same seeds.
    - `measure`: A function from the agent of the last checkpoint and a batch of the data, with normalised observations, to
      metrics by level and name; the variants then have different arms. None if the metrics are columns of `eval.csv`.
    - `tasks`: The tasks at the scale `paper`.
    - `fields`: Settings of all runs, by dotted name, which override those of the scale.
    """

    variants: Callable[[str], Sequence[Variant]]
    measure: Callable[[Any, Transition], Mapping[tuple[float, str], Any]] | None = None
    tasks: Sequence[str]
    fields: Mapping[str, Any] = field(default_factory=dict)


EPISODE_STEPS = {"ogbench-small": 1_000, "paper": 4_000}
"""At least the number of steps of an episode of the data, by scale."""


def fixed_targets(scale: str) -> dict[str, Any]:
    """Returns settings with which TD targets do not change in training: returns to the end of the episode, and a target
    network that is never updated, for the value of the last state."""
    return {"agent.n_step": EPISODE_STEPS[scale], "agent.tau": 0.0}


@dataclass(frozen=True, kw_only=True)
class Study(Experiment):
    """A claim, and the experiments that test it: on a task with exact values, such as the maze of `critic_lab`, and on
    OGBench.

    - `name`: The name in `floqzoo study NAME`.
    - `claim`: The claim, in one or two sentences.
    - `settings`: The default settings, shared by all arms: a dataclass with the fields `seeds` and `updates`.
    - `trials`: A function from settings to a mapping from names to trials. A trial is a function that returns its
      measurements, and does not depend on other trials.
    - `runs`: The experiment on OGBench; None if recipes cannot make the measurements.
    """

    name: str
    claim: str
    settings: Any
    trials: Callable[[Any], Mapping[str, Callable[[], list[Measurement]]]]
    runs: RunExperiment | None = None


def judge(experiment: Experiment, table: Table) -> list[Verdict]:
    """Returns the verdict on each statement of an experiment, for the table of an experiment that is complete."""
    verdicts = []
    for statement in experiment.statements:
        effects = [statement.effect(of_task) for of_task in table.by_task.values()]
        effect = bootstrap_interval(interquartile_mean, effects)
        least = -statement.margin
        verdict = "reproduced" if effect.low > least else "not reproduced" if effect.high < least else "undecided"
        verdicts.append(Verdict(statement, effect, verdict))
    return verdicts


MEASUREMENTS, SETTINGS = "measurements.csv", "settings.csv"


def run_study(
    study: Study, settings: Any, directory: Path, progress: Callable[[int, int, str], None] = lambda *_: None
) -> Table:
    """Runs a study, and returns all its measurements.

    Trials whose tables are already in `directory` are not repeated, so an interrupted study resumes.

    - `directory`: The output folder for a table of each trial, the complete table and the settings.
    - `progress`: Called with the number of finished trials, the total number, and the name of the next trial.

    **Raises** the errors of `record_settings`.
    """
    record_settings({"study": study.name, **asdict(settings)}, directory)
    trials, rows = study.trials(settings), []
    for index, (name, trial) in enumerate(trials.items()):
        path = directory / "trials" / f"{name}.csv"
        progress(index, len(trials), name)
        if not path.exists():
            write_rows(trial(), path)
            jax.clear_caches()  # compiled programs of finished trials would stay in memory
        rows += read_table(Measurement, path)
    progress(len(trials), len(trials), "")
    write_rows(rows, directory / MEASUREMENTS)
    return Table(rows)


def record_settings(settings: Mapping[str, Any], directory: Path) -> None:
    """Writes the settings of a study to its folder, so that the study can be resumed with the same settings only.

    **Raises** `ValueError` if the folder contains another study, or this one with different settings.
    """
    wanted = [_Setting(name, str(value)) for name, value in settings.items()]
    known = directory / SETTINGS
    if known.exists():
        theirs = {row["name"]: row["value"] for row in read_rows(known)}
        for row in wanted:
            if theirs.get(row.name) != row.value:
                raise ValueError(
                    f"`directory` must be new, or contain this study with the same settings; in {directory} `{row.name}` is "
                    f"{theirs.get(row.name)}, here it is {row.value}."
                )
    write_rows(wanted, known)


@dataclass(frozen=True)
class _Setting:
    name: str
    value: str


def estimate(table: Table, arm: str, level: float | int, metric: str) -> Estimate:
    """Computes the interquartile mean of a metric over tasks and seeds, and its stratified bootstrap interval."""
    known = [of_task for of_task in table.by_task.values() if level in of_task.levels(arm, metric)]
    return bootstrap_interval(interquartile_mean, [of_task.of(arm, level, metric) for of_task in known])


def result_table(experiment: Experiment, table: Table) -> tuple[list[str], list[list[str]]]:
    """Returns a table of interquartile means with intervals, with a row per task, arm and level and a column per
    metric."""
    level, several = experiment.level, len(table.by_task) > 1
    columns = [*(["task"] if several else []), "arm", *([level] if level else []), *experiment.panels.values()]
    lines = []
    for task, of_task in table.by_task.items():
        for arm in of_task.arms:
            for at in sorted({row.level for row in of_task.rows if row.arm == arm}):
                cells = []
                for metric in experiment.panels:
                    known = at in of_task.levels(arm, metric)
                    cells.append(_with_interval(estimate(of_task, arm, at, metric)) if known else "")
                lines.append([*([task] if several else []), arm, *([number(at)] if level else []), *cells])
    return columns, lines


def verdict_table(verdicts: Sequence[Verdict]) -> tuple[list[str], list[list[str]]]:
    """Returns a table of verdicts and effects, with a row per statement."""
    return ["statement", "verdict", "effect [95 % interval]"], [
        [verdict.statement.text, verdict.verdict, str(verdict)] for verdict in verdicts
    ]


def report_text(experiment: Experiment, table: Table, verdicts: Sequence[Verdict]) -> str:
    """Returns the tables of verdicts and results, as Markdown."""
    return f"{markdown_table(*verdict_table(verdicts))}\n\n{markdown_table(*result_table(experiment, table))}\n"


def _with_interval(estimate: Estimate) -> str:
    values = estimate.value, estimate.low, estimate.high
    # A mean of differences that cancel is not exactly 0, because of rounding.
    rounding = 1e-12 * np.max(np.abs(values))
    value, low, high = (number(0.0 if abs(each) < rounding else each) for each in values)
    return f"{value} [{low}, {high}]"


@styled
def draw_study(experiment: Experiment, table: Table, path: Path) -> Path:
    """Draws a panel for each metric, which shows the interquartile mean of each arm with its interval."""
    columns = 3 if len(experiment.panels) == 3 else min(len(experiment.panels), 2)
    rows = -(-len(experiment.panels) // columns)
    figure = new_figure(WIDTH, (2.0 if experiment.level is None else 3.0) * rows + 0.6)
    colours = method_colours(table.arms)
    every = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, (metric, label) in zip(every, experiment.panels.items(), strict=False):
        for index, arm in enumerate(table.arms):
            levels = table.levels(arm, metric)
            if not levels:
                continue
            found = [estimate(table, arm, level, metric) for level in levels]
            value = np.array([each.value for each in found])
            errors = np.abs([[each.value - each.low, each.high - each.value] for each in found]).T
            style: dict[str, Any] = {"color": colours[arm], "marker": "o"}
            if experiment.level is None:
                axes.errorbar(value, [-index], xerr=errors, **style)
            else:  # shifted, so that the intervals of several arms do not overlap
                place, x = index - (len(table.arms) - 1) / 2, np.array(levels)
                x = x * 1.04**place if experiment.log_level else x + 0.015 * max(levels) * place
                axes.errorbar(x, value, errors, label=arm.replace("monolithic", "monolithic (FQL's critic)"), **style)
        title, _, unit = label.partition(" (")
        axes.set_title(fill(title[0].upper() + title[1:], 22 if columns == 3 else 34))
        unit = unit.rstrip(")")
        if experiment.level is None:
            axes.set_xlabel(unit)
            axes.set_yticks(range(0, -len(table.arms), -1), table.arms if axes is every[0] else [""] * len(table.arms))
            axes.margins(y=0.2)
        else:
            if axes is every[0] or unit != every[0].get_ylabel():
                axes.set_ylabel(unit)
            if experiment.log_level:
                axes.set_xscale("log", base=2)
                ticks_at(axes.xaxis, sorted({row.level for row in table.rows}))
    for axes in every[len(experiment.panels) :]:
        axes.set_visible(False)
    if experiment.level is not None:
        bottom = every[len(experiment.panels) - columns : len(experiment.panels)]
        for axes in bottom[1:2] if columns == 3 else bottom:
            axes.set_xlabel(experiment.level)
        legend_below(figure, 2)
    return save_figure(figure, path)
