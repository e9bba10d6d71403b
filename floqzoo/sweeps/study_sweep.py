"""Trains the recipes of a study's experiment on OGBench as an ordinary sweep, and reads the evaluations of its runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax
import numpy as np

from floqzoo.results.find_runs import evaluations
from floqzoo.runs.run_data import task_of
from floqzoo.runs.stored_run import StoredRun
from floqzoo.studies.report import read_table
from floqzoo.studies.study import MEASUREMENTS, Measurement, RunExperiment, Study, Table, Variant
from floqzoo.sweeps.sweep import Sweep
from floqzoo.sweeps.sweep_file import sweep_of
from floqzoo.sweeps.trial import Trial
from floqzoo.sweeps.trial_state import has_begun


@dataclass(frozen=True, kw_only=True)
class RunScale:
    """The size of a study on OGBench.

    - `preset`: The preset of every recipe.
    - `tasks`: The tasks; None for those that the experiment names.
    - `seeds`: The number of seeds per variant and task.
    - `fields`: Settings of all runs, by dotted name.
    - `machine`: The entries `resources` and `slurm` of the sweep file.
    """

    preset: str
    tasks: tuple[str, ...] | None
    seeds: int
    fields: Mapping[str, Any]
    machine: Mapping[str, Any]


SCALES: Mapping[str, RunScale] = MappingProxyType(
    {
        "ogbench-small": RunScale(
            preset="quickstart",
            tasks=("pointmaze-medium-navigate-singletask-task1-v0",),
            seeds=5,
            fields={
                "agent.n_step": 20,
                "agent.discount": 0.995,
                "agent.alpha": 10.0,
                "normalize_observations": True,
                "offline_steps": 5_000,
                "log_interval": 1_000,
                "eval_interval": 1_000,
                "eval_episodes": 5,
                "save_interval": 1_000,
                "keep_checkpoints": 1,
                "collect_episodes": 150,
            },
            machine={"resources": {"cpu": 1}},
        ),
        "paper": RunScale(
            preset="analysis",
            tasks=None,
            seeds=3,
            fields={"success_timing": "post", "save_interval": 100_000, "keep_checkpoints": 1, "eval_workers": 2},
            machine={"resources": {"cpu": 3, "gpu": 0.25, "memory_gb": 16}, "slurm": {"timeout_min": 1440}},
        ),
    }
)
"""The scales of studies on OGBench, by name. The scale `small` of `floqzoo study` is the maze of `critic_lab`."""
EVALUATIONS = 3
"""The number of last evaluations over which the metrics of a run are averaged, as in FQL's paper."""
BATCH_SIZE = 1_024
"""The number of transitions on which the critics of trained agents are measured."""


@dataclass(frozen=True)
class StudySweep:
    """A study at one scale on OGBench, as a sweep.

    - `experiment`: The experiment.
    - `content`: The contents of the sweep file.
    - `sweep`: The sweep. Its trials are those of the first variant on all tasks, then those of the second one, and so
      on.
    - `variants`: The variant of each trial.
    """

    experiment: RunExperiment
    content: Mapping[str, Any]
    sweep: Sweep
    variants: tuple[Variant, ...]

    def complete(self, table: Table) -> Table:
        """Returns the measurements of the tasks and seeds for which all variants were measured."""
        if self.experiment.measure is None:
            return table.paired({(variant.arm, variant.level) for variant in self.variants})
        if {variant.arm for variant in self.variants} > set(table.arms):
            return Table(())
        return table.paired({(row.arm, row.level) for row in table.rows})


def study_sweep(
    study: Study, scale: str, directory: Path, *, seeds: int | None = None, updates: int | None = None
) -> StudySweep:
    """Returns a study at one of `SCALES` as a sweep, without starting or writing anything.

    - `directory`: The output folder; the runs are in `<directory>/floqzoo/<name of the study>`.
    - `seeds`, `updates`: The number of seeds, and the number of updates of each run; None for those of the scale.

    **Raises** `ValueError` if the study has no experiment on OGBench, or if `updates` is given for an experiment that
    sets the number of updates itself, and the errors of `sweep_of`.
    """
    experiment, size = study.runs, SCALES[scale]
    if experiment is None:
        raise ValueError(f"`scale` must be small for the study {study.name}, which no recipe can run; got {scale}.")
    variants = experiment.variants(scale)
    if updates is not None and any(
        "offline_steps" in each for each in (experiment.fields, *(v.fields for v in variants))
    ):
        raise ValueError(
            f"`updates` must not be given for the study {study.name} at the scale {scale}, which sets the number of updates "
            f"itself; got {updates}."
        )
    given = {} if updates is None else {"offline_steps": updates}
    common = {**size.fields, **experiment.fields, **given}
    # A sweep file must not set a field both for all recipes and for one of them.
    own = {name: common.pop(name) for variant in variants for name in variant.fields if name in common}
    content = {
        "name": study.name,
        "save_dir": str(directory.expanduser().absolute()),
        "recipes": [
            {"recipe": each.recipe, "preset": each.preset or size.preset, "fields": _plain({**own, **each.fields})}
            for each in variants
        ],
        "tasks": list(size.tasks or experiment.tasks),
        "seeds": size.seeds if seeds is None else seeds,
        "fields": _plain(common),
        **size.machine,
    }
    sweep = sweep_of(content)
    each = len(sweep.trials) // len(variants)
    return StudySweep(experiment, content, sweep, tuple(variant for variant in variants for _ in range(each)))


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as in a sweep file, where a list contains alternatives."""
    return {name: [list(value)] if isinstance(value, tuple) else value for name, value in fields.items()}


def read_runs(study: StudySweep, directory: Path) -> tuple[Table, list[Trial]]:
    """Returns the measurements of the runs that have their last evaluation, and the trials without one.

    - `directory`: The output folder. If it contains no runs, the measurements are read from its `measurements.csv`.

    **Raises** `ValueError` if a run or the table is damaged or was written by another version.
    """
    trials = list(zip(study.sweep.trials, study.variants, strict=True))
    if any(has_begun(trial.directory) for trial, _ in trials):
        rows = [row for trial, variant in trials for row in _measured(trial, variant, study.experiment)]
    elif (directory / MEASUREMENTS).exists():
        rows = read_table(Measurement, directory / MEASUREMENTS)
    else:
        rows = []
    measured = study.experiment.measure is not None  # at several levels for each variant
    known = {(row.task, row.arm, None if measured else row.level, row.seed) for row in rows}
    missing = [
        replace(trial, method=_name(variant, study.experiment))
        for trial, variant in trials
        if not all(
            (trial.config.env_name, variant.arm, None if measured else variant.level, seed) in known
            for seed in trial.config.seed_numbers
        )
    ]
    return Table(rows), missing


def _measured(trial: Trial, variant: Variant, experiment: RunExperiment) -> list[Measurement]:
    """The measurements of each seed of a run that has its last evaluation, and none of other runs."""
    columns = evaluations(StoredRun(trial.directory)) if has_begun(trial.directory) else {}
    steps = np.unique(columns.get("step", ()))
    if not steps.size or steps[-1] != trial.config.total_steps:
        return []
    if experiment.measure is None:
        found = {
            seed: {(variant.level, metric): mean for metric, mean in means.items()}
            for seed, means in _means(columns, steps, experiment).items()
        }
    else:
        found = _of_last_agents(trial, experiment.measure)
    return [
        Measurement(trial.config.env_name, variant.arm, level, seed, metric, value)
        for seed, metrics in found.items()
        for (level, metric), value in metrics.items()
        if np.isfinite(value)
    ]


def _means(columns: Mapping[str, Any], steps: Any, experiment: RunExperiment) -> dict[int, dict[str, float]]:
    """The mean of each metric over the last evaluations, for each seed."""
    last = columns["step"] >= steps[-EVALUATIONS:][0]
    return {
        int(seed): {
            metric: float(columns[metric][last & (columns["seed"] == seed)].mean())
            for metric in experiment.panels
            if metric in columns
        }
        for seed in np.unique(columns["seed"])
    }


def _of_last_agents(trial: Trial, measure: Callable[..., Any]) -> dict[int, dict[tuple[float, str], float]]:
    """The metrics of the last agent of each seed, for the same batch of the run's data."""
    run = StoredRun(trial.directory)
    batch = task_of(run).dataset.sample(jax.random.key(0), BATCH_SIZE)

    def of_agent(agent: Any) -> Any:
        return measure(agent, batch.with_observations(jax.vmap(agent.parts.normalised)))

    metrics = eqx.filter_jit(eqx.filter_vmap(of_agent))(run.restore(trial.recipe).tree.agents)
    return {
        seed: {key: float(values[index]) for key, values in metrics.items()} for index, seed in enumerate(run.seeds)
    }


def _name(variant: Variant, experiment: RunExperiment) -> str:
    return variant.arm if experiment.level is None else f"{variant.arm}, {experiment.level} {variant.level:g}"
