"""Studies on OGBench: the sweep that each expands to, and how its stored runs become measurements and verdicts."""

import json
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training.toy_run import toy_task

from floqzoo.commands.study import study as study_command
from floqzoo.runs.metric_log import MetricLog
from floqzoo.runs.run_directory import FORMAT
from floqzoo.runs.run_store import SUCCESS_METRIC
from floqzoo.runs.stored_run import StoredRun
from floqzoo.studies import claims
from floqzoo.studies.claims import study_named, study_names
from floqzoo.studies.statistics import bootstrap_interval, interquartile_mean
from floqzoo.studies.study import Measurement, RunExperiment, Statement, Table, Variant, judge
from floqzoo.sweeps import launcher, read_sweep, run_trial
from floqzoo.sweeps.study_sweep import SCALES, read_runs, study_sweep
from floqzoo.training.command_line import parse_arguments


pytest.importorskip("ogbench")
ON_OGBENCH = [name for name in study_names() if study_named(name).runs is not None]
VARIANCE = "diagnostics/q_noise_variance"


@pytest.mark.filterwarnings("error")  # each task has published settings
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ON_OGBENCH)
def test_a_study_is_a_sweep_whose_flags_the_recipes_take(name, scale, tmp_path):
    planned = study_sweep(study_named(name), scale, tmp_path)
    experiment, trials = planned.experiment, planned.sweep.trials
    tasks = SCALES[scale].tasks or experiment.tasks
    cells = {(variant.arm, variant.level) for variant in planned.variants}
    assert len(trials) == len(planned.variants) == len(cells) * len(tasks)
    assert len({trial.directory for trial in trials}) == len(trials)
    for trial, variant in zip(trials, planned.variants, strict=True):
        assert (trial.recipe.name, trial.config.seeds) == (variant.recipe, SCALES[scale].seeds)
        words = [word for word in trial.words if not word.startswith(("--run_directory", "--recipe"))]
        assert parse_arguments(trial.recipe, words) == trial.config
        for interval in (trial.config.eval_interval, trial.config.save_interval):
            steps = trial.config.offline_steps + trial.config.online_steps
            assert interval == 0 or steps < interval or steps % interval == 0
    budgets = {(trial.config.offline_steps, trial.config.online_steps) for trial in trials}
    assert len(budgets) == 1  # the same for all arms
    assert len({trial.method for trial in trials}) == len(cells)


@pytest.mark.slow
def test_the_sweep_file_has_the_same_trials(tmp_path, capsys):
    pytest.importorskip("yaml")
    for name in ON_OGBENCH:
        study_command(name, scale="ogbench-small", directory=tmp_path / name, seeds=2, dry_run=True)
        planned = study_sweep(study_named(name), "ogbench-small", tmp_path / name, seeds=2)
        wanted = [trial.command for trial in planned.sweep.trials]
        assert [trial.command for trial in read_sweep(tmp_path / name / "sweep.yaml").trials] == wanted
    assert f"{len(wanted)} trials, {len(wanted)} to run" in capsys.readouterr().err


def test_what_recipes_cannot_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`scale` must be small for the study successor_measures"):
        study_sweep(study_named("successor_measures"), "paper", tmp_path)
    for name in ("update_ratio", "plasticity"):
        with pytest.raises(ValueError, match=f"`updates` must not be given for the study {name}"):
            study_sweep(study_named(name), "paper", tmp_path, updates=3)
    with pytest.raises(ValueError, match="`dry_run` must not be given with `from`"):
        study_command("backups", read=tmp_path, dry_run=True)


TWO_TASKS = tuple(f"pointmaze-medium-navigate-singletask-task{number}-v0" for number in (1, 2))


@pytest.fixture
def two_tasks(monkeypatch):
    """The scale, with two tasks."""
    scale = replace(SCALES["ogbench-small"], tasks=TWO_TASKS)
    monkeypatch.setattr("floqzoo.sweeps.study_sweep.SCALES", {"ogbench-small": scale})


def backups(directory, updates=7):
    return study_sweep(study_named("backups"), "ogbench-small", directory, seeds=3, updates=updates)


def store(trial, metrics, step=None):
    """The files of a run, in whose last three evaluations the metrics of each seed have the given means."""
    trial.directory.mkdir(parents=True)
    config = trial.config
    names = ("env_name", "seed", "seeds", "offline_steps", "online_steps")
    flags = {"recipe": "floq"} | {name: getattr(config, name) for name in names}
    for name, content in {"flags": flags, "data": {}, "machine": {"format": FORMAT}}.items():
        (trial.directory / f"{name}.json").write_text(json.dumps(content))
    step = config.total_steps if step is None else step
    log = MetricLog(trial.directory / "eval.csv")
    for at, shift in zip(range(step - 3, step + 1), (9.0, 0.25, -0.5, 0.25), strict=True):
        log.write(
            at, {seed: {name: value + shift for name, value in each.items()} for seed, each in enumerate(metrics)}
        )


def metrics_of(success, variance):
    return [{SUCCESS_METRIC: each, VARIANCE: variance, "diagnostics/q": -1.0} for each in success]


@pytest.mark.usefixtures("two_tasks")
def test_runs_become_measurements_and_verdicts_of_the_seeds_that_all_arms_have(tmp_path, capsys):
    planned = backups(tmp_path)
    first, second, third, fourth = planned.sweep.trials  # expected on two tasks, then distributional
    store(first, metrics_of([0.5, 0.75, 1.0], 0.25))
    table, missing = read_runs(planned, tmp_path)
    np.testing.assert_array_equal(table.of("expected", 0, SUCCESS_METRIC), [0.5, 0.75, 1.0])
    assert [str(trial).split(" on ")[0] for trial in missing] == ["expected", "distributional", "distributional"]
    assert not planned.complete(table).rows

    store(second, metrics_of([0.1, 0.2, 0.3], 0.5), step=3)  # still running
    store(third, metrics_of([0.25, 0.5, 0.75], 1.0))
    study_command("backups", scale="ogbench-small", seeds=3, updates=7, read=tmp_path, directory=tmp_path / "out")
    found, said = (tmp_path / "out" / "report.md").read_text(), capsys.readouterr().err
    assert "| The success rate is higher with the expected backup. | reproduced | 0.25 [0.25, 0.25] of the" in found
    assert "0.75 [0.75, 0.75] squared units of return" in found
    assert said.count("missing: ") == 2 and f"missing: expected on {second.config.env_name}, seeds 0-2" in said
    assert (tmp_path / "out" / "backups.png").stat().st_size > 0

    # The table is enough to do this again.
    table, missing = read_runs(backups(tmp_path / "out"), tmp_path / "out")
    assert len(missing) == 2 and set(table.rows) == set(read_runs(planned, tmp_path)[0].rows)
    assert read_runs(backups(tmp_path / "none"), tmp_path / "none")[0].rows == ()
    assert len(read_runs(backups(tmp_path, updates=8), tmp_path)[1]) == 4  # other settings are other runs
    del fourth


def test_verdicts_pair_seeds_within_tasks_and_resample_within_tasks():
    random = np.random.default_rng(0)
    values = {(task, arm): random.normal(size=5) for task in "uv" for arm in "ab"}
    rows = [
        Measurement(task, arm, 0.0, seed, "m", value)
        for (task, arm), each in values.items()
        for seed, value in enumerate(each)
    ]
    statement = Statement("a > b", lambda table: table.of("a", 0, "m") - table.of("b", 0, "m"), "")
    experiment = RunExperiment(design="", level=None, panels={}, statements=[statement], variants=list, tasks=())
    table = Table([*rows, Measurement("v", "a", 0.0, 5, "m", 9.0)])
    found = judge(experiment, table.paired([("a", 0.0), ("b", 0.0)]))[0]
    effects = [values[task, "a"] - values[task, "b"] for task in "uv"]
    assert found.effect == bootstrap_interval(interquartile_mean, effects)


@pytest.mark.slow
def test_a_study_trains_its_arms_resumes_and_is_read_again(tmp_path, monkeypatch, capsys):
    """With the toy recipe; the trials run in this process instead of on Ray."""
    recipe = str(Path(__file__).with_name("toy_recipe.py"))
    experiment = RunExperiment(
        design="",
        level="batch size",
        variants=lambda scale: [
            Variant(arm="toy", recipe=recipe, preset="default", level=size, fields={"agent.batch_size": size})
            for size in (4, 8)
        ],
        tasks=(),
        panels={SUCCESS_METRIC: "success (rate)"},
        statements=[
            Statement(
                "More is better.",
                lambda table: table.of("toy", 8, SUCCESS_METRIC) - table.of("toy", 4, SUCCESS_METRIC),
                "of the success rate",
            )
        ],
    )
    toy = replace(study_named("backups"), runs=experiment)
    monkeypatch.setattr(claims, "study_named", lambda name: toy)
    fields = {"eval_interval": 0, "save_interval": 10, "keep_checkpoints": 1}
    scale = replace(SCALES["ogbench-small"], tasks=TWO_TASKS, fields=fields)
    monkeypatch.setattr("floqzoo.sweeps.study_sweep.SCALES", {"ogbench-small": scale})
    ran, at_once = [], iter((3, 4))

    def run_here(sweep):
        for trial in launcher.unfinished_trials(sweep)[: next(at_once)]:
            ran.append(trial.directory)
            run_trial.main(trial.words)
        return []

    monkeypatch.setattr(launcher, "run_sweep", run_here)
    given = {"scale": "ogbench-small", "seeds": 2, "updates": 20, "directory": tmp_path}
    study_command("backups", **given)
    assert len(ran) == 3 and "missing: toy, batch size 8 on pointmaze" in capsys.readouterr().err
    study_command("backups", **given)
    assert len(ran) == len(set(ran)) == 4 and "missing" not in capsys.readouterr().err
    assert "More is better." in (tmp_path / "report.md").read_text()


@pytest.mark.slow
def test_the_last_agents_are_measured_on_the_data_of_their_run(tmp_path, monkeypatch):
    def sum_and_moment(agent, batch):
        weights = jax.tree.leaves(eqx.filter(agent.policy, eqx.is_inexact_array))
        return {(0.25, "sum"): sum(map(jnp.sum, weights)), (0.5, "moment"): jnp.mean(batch.observation[:, 0] ** 2)}

    recipe = str(Path(__file__).with_name("toy_recipe.py"))
    experiment = RunExperiment(
        design="",
        level="level",
        variants=lambda scale: [
            Variant(arm=f"{size}", recipe=recipe, preset="default", fields={"agent.batch_size": size})
            for size in (4, 8)
        ],
        measure=sum_and_moment,
        tasks=TWO_TASKS[:1],
        panels={"sum": "", "moment": ""},
        statements=[],
    )
    fields = {"eval_interval": 0, "save_interval": 10, "keep_checkpoints": 1}
    monkeypatch.setattr(
        "floqzoo.sweeps.study_sweep.SCALES", {"s": replace(SCALES["ogbench-small"], tasks=None, fields=fields)}
    )
    monkeypatch.setattr("floqzoo.sweeps.study_sweep.task_of", lambda run: toy_task())
    planned = study_sweep(replace(study_named("backups"), runs=experiment), "s", tmp_path, seeds=2, updates=20)
    first, second = planned.sweep.trials
    run_trial.main(first.words)
    table, missing = read_runs(planned, tmp_path)
    assert [trial.directory for trial in missing] == [second.directory] and not planned.complete(table).rows

    run_trial.main(second.words)
    table, missing = read_runs(planned, tmp_path)
    assert not missing and planned.complete(table).rows == table.rows
    # One batch for all agents; the toy run does not normalise observations.
    batch = toy_task().dataset.sample(jax.random.key(0), 1_024)
    for trial, arm in zip(planned.sweep.trials, ("4", "8"), strict=True):
        agents = [StoredRun(trial.directory).agent(trial.recipe, seed) for seed in (0, 1)]
        found = [sum_and_moment(agent, batch) for agent in agents]
        for level, metric in found[0]:
            expected = [each[level, metric] for each in found]
            np.testing.assert_allclose(table.of(arm, level, metric), expected, rtol=1e-4, atol=1e-5)
