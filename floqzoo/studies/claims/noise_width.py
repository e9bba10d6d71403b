"""The width of the noise interval against K: when are paths curved, and when do steps matter?"""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from floqzoo.critics.flow_diagnostics import with_steps
from floqzoo.flow.curvature import path_curvature
from floqzoo.studies.critic_lab import (
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
from floqzoo.studies.study import Measurement, Statement, Study, Table, measurements


COVERAGES = (0.01, 0.1, 1.0)
STEPS = (1, 8)


def curvature(critic: Any, where: Checks) -> Any:
    r"""$\int_0^1 (\dot z_t - (z_1 - z_0))^2 dt$ of the value paths, with 32 steps; the mean over one look at each cell."""
    fine = with_steps(critic, 32)
    low, high = critic.prior.low.value, critic.prior.high.value
    noise = (low + (high - low) * (jnp.arange(4, dtype=float) + 0.5) / 4)[:, None]

    def of_pair(observation, action):
        def of_member(field):
            flow = fine.flow(field)
            code = flow.encode(observation, action)
            return jax.vmap(lambda start: path_curvature(flow.trajectory(start, code)))(noise)

        return jnp.mean(fine.fields.each(of_member))

    return jnp.mean(jax.vmap(of_pair)(where.observation[:, 0, 0], where.action[:, 0, 0]))


def trial(coverage: float, steps: int, settings: LabSettings) -> list[Measurement]:
    """Trains floq with one noise interval and one K."""
    settings = replace(settings, noise_coverage=coverage, flow_steps=steps)
    agents = train(flow_agents(settings), lab_data(settings), settings)
    where = checks()

    def of_seed(critic: Any) -> dict[str, Any]:
        return {
            "error": value_error(critic, where),
            "score": policy_score(critic, where),
            "curvature": curvature(critic, where),
        }

    return measurements(arm_of(coverage), steps, of_each_seed(of_seed, agents))


def arm_of(coverage: float) -> str:
    """The name of an arm."""
    return f"κ = {coverage:g}"


def gain_of_steps(table: Table, coverage: float) -> np.ndarray:
    """How much error the largest K has less than K = 1."""
    arm = arm_of(coverage)
    return table.of(arm, STEPS[0], "error") - table.of(arm, STEPS[-1], "error")


def curved(table: Table, coverage: float) -> np.ndarray:
    """The curvature, the mean over K."""
    return np.mean([table.of(arm_of(coverage), steps, "curvature") for steps in STEPS], axis=0)


STUDY = Study(
    name="noise_width",
    claim="Wide noise intervals curve the paths from noise to value, and curved paths make the number of steps matter.",
    design="floq with noise intervals of κ times the range of returns, each with several K in training and at test; the "
    "curvature is measured on paths of 32 steps.",
    settings=LabSettings(),
    trials=lambda settings: {
        f"coverage-{coverage:g}-K-{steps}": partial(trial, coverage, steps, settings)
        for coverage in COVERAGES
        for steps in STEPS
    },
    level="K",
    panels={
        "error": "error of Q (RMS)",
        "score": "score of the greedy policy",
        "curvature": "curvature of the value paths",
    },
    statements=[
        Statement(
            "Paths from a wide noise interval (κ = 1) are more curved than those from a narrow one (κ = 0.01).",
            lambda table: curved(table, 1.0) - curved(table, 0.01),
            "squared units of return",
        ),
        Statement(
            "K = 8 in place of K = 1 gains more with the wide interval than with the narrow one.",
            lambda table: gain_of_steps(table, 1.0) - gain_of_steps(table, 0.01),
            "units of return",
        ),
        Statement(
            "The widest interval (κ = 1) with K = 8 has a smaller error than the narrowest (κ = 0.01) with K = 8.",
            lambda table: table.of(arm_of(0.01), 8, "error") - table.of(arm_of(1.0), 8, "error"),
            "units of return",
        ),
    ],
    log_level=True,
)
