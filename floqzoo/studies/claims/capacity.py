"""Do larger monolithic critics match floq if an update costs the same?"""

from functools import partial

import numpy as np

from floqzoo.networks.mlp import MLP
from floqzoo.networks.residual_mlp import ResidualMLP
from floqzoo.runs.run_store import SUCCESS_METRIC
from floqzoo.studies.critic_lab import (
    ERROR,
    SCORE,
    LabSettings,
    flow_agents,
    lab_data,
    monolithic_agents,
    score_and_error,
    train,
)
from floqzoo.studies.study import Measurement, RunExperiment, Statement, Study, Table, Variant, measurements


# With the default settings, an update of floq costs 48 MFLOP in matrix products, and an update of a larger critic 49 to
# 51 MFLOP.
LARGER = {
    "monolithic, wider": {"network": partial(MLP, hidden=(152, 152), layer_norm=True)},
    "monolithic, deeper": {"network": partial(MLP, hidden=(64,) * 7, layer_norm=True)},
    "monolithic, residual": {"network": partial(ResidualMLP, width=64, blocks=3, block_depth=2)},
    "monolithic, 11 members": {"members": 11},
}
BUILDERS = {
    "floq": flow_agents,
    "monolithic": monolithic_agents,
    **{arm: partial(monolithic_agents, **size) for arm, size in LARGER.items()},
}


def trial(arm: str, settings: LabSettings) -> list[Measurement]:
    """Trains one arm on all seeds, and returns its scores and errors."""
    agents = train(BUILDERS[arm](settings), lab_data(settings), settings)
    return measurements(arm, 0, score_and_error(agents))


def best_of_larger(table: Table, metric: str, sign: int) -> np.ndarray:
    """Returns the values of a metric for all seeds, for the critic in `LARGER` whose mean value is best.

    - `sign`: 1 if higher values of the metric are better, -1 if lower values are better.
    """
    return max((table.of(arm, 0, metric) for arm in LARGER), key=lambda values: sign * values.mean())


PRESETS = {"fql, same parameters": "ensemble", "fql, same FLOPs": "matched_flops", "fql, residual": "residual"}
# On cube-single with small networks, five critics have 5 % more parameters than floq's critics. An update with eleven
# critics, or with two residual critics, costs as many FLOPs in matrix products as one of floq, within 3 %.
SMALL = {
    "fql, same parameters": {"agent.ensemble_size": 5},
    "fql, same FLOPs": {"agent.ensemble_size": 11},
    "fql, residual": {
        "agent.use_resnets": True,
        "agent.block_width": 128,
        "agent.block_depth": 2,
        "agent.num_transformations": 2,
    },
}


def run_variants(scale: str) -> list[Variant]:
    """Returns floq, FQL, and FQL with larger critics."""
    # FQL's preset `matched_flops` costs as much as floq with K = 8.
    floq_fields = {"agent.critic_flow_steps": 8} if scale == "paper" else {}
    plain = [Variant(arm="floq", recipe="floq", fields=floq_fields), Variant(arm="fql", recipe="fql")]
    if scale == "paper":
        return plain + [Variant(arm=arm, recipe="fql", preset=preset) for arm, preset in PRESETS.items()]
    return plain + [Variant(arm=arm, recipe="fql", fields=fields) for arm, fields in SMALL.items()]


RUNS = RunExperiment(
    design="floq, FQL, and FQL with larger critics: as many parameters as floq's critics, as many FLOPs per update, or "
    "residual networks. At the scale `paper`, these are FQL's presets `ensemble`, `matched_flops` and `residual`, floq uses "
    "K = 8, to which `matched_flops` refers, and the tasks are those for which floq's code has residual critics.",
    level=None,
    variants=run_variants,
    tasks=("antmaze-giant-navigate-singletask-task1-v0", "humanoidmaze-large-navigate-singletask-task1-v0"),
    panels={SUCCESS_METRIC: "success (rate)"},
    statements=[
        Statement(
            "floq has a higher success rate than FQL.",
            lambda table: table.of("floq", 0, SUCCESS_METRIC) - table.of("fql", 0, SUCCESS_METRIC),
            "of the success rate",
        ),
        Statement(
            "floq has a higher success rate than FQL with the best of the larger critics.",
            lambda table: (
                table.of("floq", 0, SUCCESS_METRIC)
                - max((table.of(arm, 0, SUCCESS_METRIC) for arm in PRESETS), key=lambda values: values.mean())
            ),
            "of the success rate",
        ),
    ],
)
STUDY = Study(
    name="capacity",
    claim="More parameters or more computation do not explain the advantage of flow critics, because larger monolithic "
    "critics do not match them.",
    design="This study compares floq with a monolithic critic that has the same hidden layers (9 MFLOP per update), and with "
    "four larger monolithic critics. Each of these costs as many FLOPs per update as floq (48 MFLOP) and has about twice as "
    "many parameters (floq has 26 thousand). They have wider layers (152 units), more layers (seven), three residual blocks, "
    "or eleven ensemble members. For each metric, floq is compared with the one of the four that has the best measured value "
    "of this metric, which favours the monolithic critics.",
    settings=LabSettings(),
    trials=lambda settings: {
        arm.replace(", ", "-").replace(" ", "-"): partial(trial, arm, settings) for arm in BUILDERS
    },
    runs=RUNS,
    level=None,
    panels={"score": SCORE, "error": ERROR},
    statements=[
        Statement(
            "floq's policy has a higher score than the policy of the monolithic critic with the same hidden layers.",
            lambda table: table.of("floq", 0, "score") - table.of("monolithic", 0, "score"),
            "of the score",
        ),
        Statement(
            "floq's Q has a smaller error than the Q of the monolithic critic with the same hidden layers.",
            lambda table: table.of("monolithic", 0, "error") - table.of("floq", 0, "error"),
            "units of return",
        ),
        Statement(
            "floq's policy has a higher score than the policy of the best of the larger critics.",
            lambda table: table.of("floq", 0, "score") - best_of_larger(table, "score", 1),
            "of the score",
        ),
        Statement(
            "floq's Q has a smaller error than the Q of the best of the larger critics.",
            lambda table: best_of_larger(table, "error", -1) - table.of("floq", 0, "error"),
            "units of return",
        ),
    ],
)
