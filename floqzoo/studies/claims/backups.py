"""Does modelling the distribution of returns help? Compares distributional backups with expected backups."""

from functools import partial
from typing import Any

import jax.numpy as jnp

from floqzoo.critics.td_targets import DistributionalBackup, ExpectedBackup
from floqzoo.runs.run_store import SUCCESS_METRIC
from floqzoo.studies.critic_lab import (
    ERROR,
    SCORE,
    LabSettings,
    checks,
    flow_agents,
    flow_ends,
    lab_data,
    of_each_seed,
    policy_score,
    train,
    value_error,
)
from floqzoo.studies.study import Measurement, RunExperiment, Statement, Study, Variant, measurements


BACKUPS = {"expected": ExpectedBackup(), "distributional": DistributionalBackup()}


def trial(arm: str, settings: LabSettings) -> list[Measurement]:
    """Trains floq on all seeds with one kind of backup, and returns its measurements."""
    agents = train(flow_agents(settings, backup=BACKUPS[arm]), lab_data(settings), settings)
    where = checks()

    def of_seed(critic: Any) -> dict[str, Any]:
        ends = flow_ends(critic, where)
        return {
            "score": policy_score(critic, where),
            "error": value_error(critic, where),
            "bias": jnp.mean(jnp.mean(ends, axis=(-2, -1)) - where.value),
            "noise_variance": jnp.mean(jnp.var(ends, axis=-1)),
        }

    return measurements(arm, 0.0, of_each_seed(of_seed, agents))


VARIANCE = "diagnostics/q_noise_variance"
RUNS = RunExperiment(
    design="floq with the expected and with the distributional backup. At the scale `paper`, the tasks are those of "
    "table 1 of arXiv 2603.04333.",
    level=None,
    variants=lambda scale: [Variant(arm=arm, recipe="floq", fields={"agent.backup": arm}) for arm in BACKUPS],
    tasks=(
        "antmaze-giant-navigate-singletask-task1-v0",
        "humanoidmaze-medium-navigate-singletask-task1-v0",
        "humanoidmaze-large-navigate-singletask-task1-v0",
        "cube-double-play-singletask-task2-v0",
    ),
    panels={
        SUCCESS_METRIC: "success (rate)",
        "diagnostics/q": "Q at the data (units of return)",
        VARIANCE: "variance of Q over noise (squared return)",
    },
    statements=[
        Statement(
            "The success rate is higher with the expected backup.",
            lambda table: table.of("expected", 0, SUCCESS_METRIC) - table.of("distributional", 0, SUCCESS_METRIC),
            "of the success rate",
        ),
        Statement(
            "The variance of Q over noise is lower with the expected backup.",
            lambda table: table.of("distributional", 0, VARIANCE) - table.of("expected", 0, VARIANCE),
            "squared units of return",
        ),
    ],
)
STUDY = Study(
    name="backups",
    claim="Expected-value backups perform at least as well as distributional backups, so modelling the distribution of "
    "returns does not explain why flow critics work. The variance of Q over noise is lower with expected-value backups.",
    design="This study trains floq with the expected backup, where all noise samples are regressed onto the mean target, and "
    "with the distributional backup, where each noise sample has its own target. Returns are random because actions fail at "
    "random.",
    settings=LabSettings(),
    trials=lambda settings: {arm: partial(trial, arm, settings) for arm in BACKUPS},
    runs=RUNS,
    level=None,
    panels={
        "score": SCORE,
        "error": ERROR,
        "bias": "mean of Q minus its exact mean (units of return)",
        "noise_variance": "variance of Q over noise (squared return)",
    },
    statements=[
        Statement(
            "The policy's score with the expected backup is at most 0.05 lower than with the distributional backup.",
            lambda table: table.of("expected", 0, "score") - table.of("distributional", 0, "score"),
            "of the score",
            margin=0.05,
        ),
        Statement(
            "Q has a smaller error with the expected backup.",
            lambda table: table.of("distributional", 0, "error") - table.of("expected", 0, "error"),
            "units of return",
        ),
        Statement(
            "The variance of Q over noise is lower with the expected backup.",
            lambda table: table.of("distributional", 0, "noise_variance") - table.of("expected", 0, "noise_variance"),
            "squared units of return",
        ),
    ],
)
