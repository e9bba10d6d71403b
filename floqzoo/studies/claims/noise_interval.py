"""At which widths of the noise interval are paths curved, and when does the number K of Euler steps matter?"""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.critics.flow_critic import FlowCritic
from floqzoo.critics.flow_diagnostics import with_steps
from floqzoo.flow.curvature import path_curvature
from floqzoo.flow.prior import quantile_noise
from floqzoo.runs.run_store import SUCCESS_METRIC
from floqzoo.studies.critic_lab import (
    ERROR,
    SCORE,
    Checks,
    LabSettings,
    checks,
    flow_agents,
    lab_data,
    of_each_seed,
    policy_score,
    train,
    value_error,
)
from floqzoo.studies.study import Measurement, RunExperiment, Statement, Study, Table, Variant, measurements
from floqzoo.typing import Scalar


COVERAGES = (0.01, 0.1, 1.0)
STEPS = (1, 2, 4, 8)


def curvature(critic: FlowCritic, where: Checks) -> Scalar:
    r"""Computes the mean curvature $\int_0^1 \|\dot z_t - (z_1 - z_0)\|^2 dt$ of the paths $z_t$ from noise to value.

    The paths have 32 steps, and the mean is over cells, corners, members and four noise samples.
    """
    fine = with_steps(critic, 32)
    noise = quantile_noise(critic.prior, 4)

    def of_member(field: Any) -> Any:
        flow = fine.flow(field)

        def of_pair(observation, action):
            code = flow.encode(observation, action)
            return jax.vmap(lambda start: path_curvature(flow.trajectory(start, code)))(noise)

        return jax.vmap(jax.vmap(of_pair))(where.observation[:, 0], where.action[:, 0])

    return jnp.mean(critic.fields.each(of_member))


def arm_of(coverage: float) -> str:
    """Returns the name of the arm with the given noise coverage."""
    return f"κ = {coverage:g}"


def trial(coverage: float, steps: int, settings: LabSettings) -> list[Measurement]:
    """Trains floq on all seeds with one noise coverage and one number of Euler steps; returns its measurements."""
    settings = replace(settings, noise_coverage=coverage, flow_steps=steps)
    agents = train(flow_agents(settings), lab_data(settings), settings)
    where = checks()

    def of_seed(critic: Any) -> dict[str, Any]:
        score, error = policy_score(critic, where), value_error(critic, where)
        return {"score": score, "error": error, "curvature": curvature(critic, where)}

    return measurements(arm_of(coverage), steps, of_each_seed(of_seed, agents))


def mean_over_steps(table: Table, coverage: float, metric: str) -> np.ndarray:
    """Returns the mean of a metric over all numbers of Euler steps."""
    arm = arm_of(coverage)
    return np.mean([table.of(arm, steps, metric) for steps in table.levels(arm, metric)], axis=0)


def gain_of_steps(table: Table, coverage: float) -> np.ndarray:
    """Returns the error with one Euler step minus the error with the largest number of steps in `STEPS`."""
    arm = arm_of(coverage)
    return table.of(arm, STEPS[0], "error") - table.of(arm, STEPS[-1], "error")


CURVATURE = "diagnostics/path_curvature"
ON_OGBENCH = {"ogbench-small": ((0.01, 1.0), (1, 8)), "paper": (COVERAGES, STEPS)}
"""The noise coverages and the numbers of Euler steps, by scale."""


def gain_in_success(table: Table, coverage: float) -> np.ndarray:
    """Returns the success rate with the largest number of steps in `STEPS` minus that with one step."""
    arm = arm_of(coverage)
    return table.of(arm, STEPS[-1], SUCCESS_METRIC) - table.of(arm, STEPS[0], SUCCESS_METRIC)


RUNS = RunExperiment(
    design="floq with noise intervals whose width is κ times the range of returns, and with K Euler steps. The curvature is that "
    "of paths with K steps, so it is 0 for K = 1. We do not know on which tasks the papers vary κ, so the tasks are our choice.",
    level="Euler steps K",
    variants=lambda scale: [
        Variant(
            arm=arm_of(coverage),
            recipe="floq",
            level=steps,
            fields={"agent.noise_coverage": coverage, "agent.critic_flow_steps": steps},
        )
        for coverage in ON_OGBENCH[scale][0]
        for steps in ON_OGBENCH[scale][1]
    ],
    tasks=("antmaze-giant-navigate-singletask-task1-v0", "humanoidmaze-large-navigate-singletask-task1-v0"),
    panels={SUCCESS_METRIC: "success (rate)", CURVATURE: "curvature of the paths (squared return)"},
    statements=[
        Statement(
            "With K = 8, paths from a wide noise interval (κ = 1) are more curved than paths from a narrow interval (κ = 0.01).",
            lambda table: table.of(arm_of(1.0), 8, CURVATURE) - table.of(arm_of(0.01), 8, CURVATURE),
            "squared units of return",
        ),
        Statement(
            "Using K = 8 instead of K = 1 increases the success rate more with the wide interval than with the narrow one.",
            lambda table: gain_in_success(table, 1.0) - gain_in_success(table, 0.01),
            "of the success rate",
        ),
    ],
    log_level=True,
)
STUDY = Study(
    name="noise_interval",
    claim="With wide noise intervals, the paths from noise to value are curved, and with curved paths the number of steps "
    "matters.",
    design="This study trains floq with noise intervals whose width is κ times the range of returns, and with several values "
    "of K for each interval. K is the same during training and at test time. To measure the curvature, paths are integrated "
    "with 32 steps. With κ = 1 and K = 1, training diverges: the error of Q is several times the range of returns, and the "
    "second statement mostly reflects this.",
    settings=LabSettings(),
    trials=lambda settings: {
        f"coverage-{coverage:g}-K-{steps}": partial(trial, coverage, steps, settings)
        for coverage in COVERAGES
        for steps in STEPS
    },
    runs=RUNS,
    level="Euler steps K",
    panels={"score": SCORE, "error": ERROR, "curvature": "curvature of the paths (squared units of return)"},
    statements=[
        Statement(
            "Paths from a wide noise interval (κ = 1) are more curved than paths from a narrow interval (κ = 0.01).",
            lambda table: mean_over_steps(table, 1.0, "curvature") - mean_over_steps(table, 0.01, "curvature"),
            "squared units of return",
        ),
        Statement(
            "Using K = 8 instead of K = 1 reduces the error more with the wide interval than with the narrow interval.",
            lambda table: gain_of_steps(table, 1.0) - gain_of_steps(table, 0.01),
            "units of return",
        ),
        Statement(
            "With K = 8, the error is smaller with the wide interval (κ = 1) than with the narrow interval (κ = 0.01).",
            lambda table: table.of(arm_of(0.01), 8, "error") - table.of(arm_of(1.0), 8, "error"),
            "units of return",
        ),
    ],
    log_level=True,
)
