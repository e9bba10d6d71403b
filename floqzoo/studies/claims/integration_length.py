"""Do more integration steps help, in training and at test time?"""

from dataclasses import replace
from functools import partial
from typing import Any

from floqzoo.critics.flow_diagnostics import with_steps
from floqzoo.runs.run_store import SUCCESS_METRIC
from floqzoo.studies.critic_lab import (
    ERROR,
    SCORE,
    LabSettings,
    checks,
    flow_agents,
    lab_data,
    of_each_seed,
    policy_score,
    train,
    value_error,
)
from floqzoo.studies.study import Measurement, RunExperiment, Statement, Study, Variant, measurements


STEPS = (1, 2, 4, 8, 16, 32)


def trial(steps: int, settings: LabSettings) -> list[Measurement]:
    """Trains floq on all seeds with `steps` Euler steps, and evaluates it with each number of steps in `STEPS`.

    Returns the measurements.
    """
    settings = replace(settings, flow_steps=steps)
    agents = train(flow_agents(settings), lab_data(settings), settings)
    where, arm = checks(), f"K = {steps} in training"
    rows = measurements(arm, steps, {"score": of_each_seed(lambda critic: policy_score(critic, where), agents)})
    for tested in STEPS:

        def error(critic: Any, tested: int = tested) -> Any:
            return value_error(with_steps(critic, tested), where)

        rows += measurements(arm, tested, {"error": of_each_seed(error, agents)})
    return rows


RUNS = RunExperiment(
    design="floq with K Euler steps in training. The policy acts according to the distilled critic, so K at test time has "
    "no effect on its success.",
    level="Euler steps K",
    variants=lambda scale: [
        Variant(arm="floq", recipe="floq", level=steps, fields={"agent.critic_flow_steps": steps})
        for steps in STEPS
        if steps <= (16 if scale == "paper" else 8)
    ],
    tasks=("antmaze-giant-navigate-singletask-task1-v0", "humanoidmaze-large-navigate-singletask-task1-v0"),
    panels={SUCCESS_METRIC: "success (rate)", "diagnostics/path_curvature": "curvature of the paths (squared return)"},
    statements=[
        Statement(
            "The success rate is higher with K = 8 than with K = 1.",
            lambda table: table.of("floq", 8, SUCCESS_METRIC) - table.of("floq", 1, SUCCESS_METRIC),
            "of the success rate",
        ),
    ],
    log_level=True,
)
STUDY = Study(
    name="integration_length",
    claim="More integration steps during training help, but using more steps at test time than during training does not.",
    design="This study trains floq with K Euler steps, both in its TD targets and in the targets of the distilled critic. "
    "After training, the same flows are integrated with other values of K. The policy acts according to the distilled "
    "critic, so its score depends only on the value of K during training. The noise interval is wider than in the other "
    "studies (κ = 0.5), so that paths are curved.",
    settings=LabSettings(noise_coverage=0.5),
    trials=lambda settings: {f"K-{steps}": partial(trial, steps, settings) for steps in STEPS},
    runs=RUNS,
    level="Euler steps K at test",
    panels={"error": ERROR, "score": SCORE.replace("policy", "policy, K as in training")},
    statements=[
        Statement(
            "A flow trained and tested with K = 8 has a smaller error in Q than a flow trained and tested with K = 1.",
            lambda table: table.of("K = 1 in training", 1, "error") - table.of("K = 8 in training", 8, "error"),
            "units of return",
        ),
        Statement(
            "The policy has a higher score after training with K = 8 than after training with K = 1.",
            lambda table: table.of("K = 8 in training", 8, "score") - table.of("K = 1 in training", 1, "score"),
            "of the score",
        ),
        Statement(
            "A flow trained and tested with K = 32 has a smaller error in Q than a flow trained and tested with K = 8.",
            lambda table: table.of("K = 8 in training", 8, "error") - table.of("K = 32 in training", 32, "error"),
            "units of return",
        ),
        Statement(
            "The policy has a higher score after training with K = 32 than after training with K = 8.",
            lambda table: table.of("K = 32 in training", 32, "score") - table.of("K = 8 in training", 8, "score"),
            "of the score",
        ),
        Statement(
            "The error of a flow trained with K = 8 is at most 0.05 smaller when it is tested with K = 32.",
            lambda table: table.of("K = 8 in training", 32, "error") - table.of("K = 8 in training", 8, "error"),
            "units of return",
            margin=0.05,
        ),
    ],
    log_level=True,
)
