"""Which critic tolerates a high update-to-data ratio, with many updates for each new transition?"""

from dataclasses import replace
from functools import partial

import jax.numpy as jnp
import numpy as np

from floqzoo.runs.run_store import SUCCESS_METRIC
from floqzoo.studies.critic_lab import AGENTS, ERROR, SCORE, LabSettings, lab_data, score_and_error, train
from floqzoo.studies.study import Measurement, RunExperiment, Statement, Study, Table, Variant, measurements


RATIOS = (1, 2, 4, 8, 16, 64)
START = 200
"""The number of transitions before the first update."""


def trial(arm: str, ratio: int, settings: LabSettings) -> list[Measurement]:
    """Trains one kind of critic while its dataset grows, and returns its scores and errors.

    One transition is added every `ratio` updates, and `settings.updates` transitions in total.
    """
    settings = replace(settings, updates=settings.updates * ratio)

    def grown(data, step):
        return replace(data, count=jnp.asarray(START + step // ratio, data.count.dtype))

    agents = train(AGENTS[arm](settings), lab_data(settings), settings, at=grown)
    return measurements(arm, ratio, score_and_error(agents))


def high(table: Table, arm: str, metric: str) -> np.ndarray:
    """Returns the mean of a metric over the two highest ratios."""
    return np.mean([table.of(arm, ratio, metric) for ratio in RATIOS[-2:]], axis=0)


def at_highest(table: Table, arm: str) -> np.ndarray:
    """Returns the success rate at the highest ratio."""
    return table.of(arm, table.levels(arm, SUCCESS_METRIC)[-1], SUCCESS_METRIC)


UTD = {"ogbench-small": (1, 4, 16, 64), "paper": (1, 2, 4, 8, 16, 32, 64, 128)}
STEPS = {"ogbench-small": 500, "paper": 100_000}
"""The number of environment steps."""


def run_variants(scale: str) -> list[Variant]:
    """Returns floq and FQL at each update-to-data ratio, without updates before the first environment step."""
    online = {"online_steps": STEPS[scale], "online_start": STEPS[scale] // 20, "eval_interval": STEPS[scale] // 5}
    return [
        Variant(arm=arm, recipe=arm, level=ratio, fields={"utd_ratio": ratio, **online})
        for arm in ("floq", "fql")
        for ratio in UTD[scale]
    ]


RUNS = RunExperiment(
    design="floq and FQL are trained online from scratch, and half of each batch is from the dataset. At the scale `paper`, "
    "the tasks and the ratios are the published ones. The number of environment steps, the first twentieth of which is "
    "without updates, is not published, so it is our choice.",
    level="updates for each environment step",
    variants=run_variants,
    fields={"offline_steps": 0, "balanced_sampling": True},
    tasks=(
        "antmaze-giant-navigate-singletask-task1-v0",
        "antsoccer-arena-navigate-singletask-task4-v0",
        "humanoidmaze-large-navigate-singletask-task1-v0",
        "humanoidmaze-medium-navigate-singletask-task1-v0",
    ),
    panels={SUCCESS_METRIC: "success (rate)"},
    statements=[
        Statement(
            "At the highest ratio, floq has a higher success rate than FQL.",
            lambda table: at_highest(table, "floq") - at_highest(table, "fql"),
            "of the success rate",
        ),
        Statement(
            "floq's success rate is higher at the highest ratio than at a ratio of 1.",
            lambda table: at_highest(table, "floq") - table.of("floq", 1, SUCCESS_METRIC),
            "of the success rate",
        ),
    ],
    log_level=True,
)
STUDY = Study(
    name="update_ratio",
    claim="Flow critics tolerate high update-to-data ratios and learn faster with them. Monolithic critics do neither.",
    design=f"The dataset grows from {START:,} to {START + 1_000:,} transitions: one transition is added every "
    f"{', '.join(map(str, RATIOS[:-1]))} or {RATIOS[-1]} updates. This number is the ratio. All critics see the same data, so a "
    "higher ratio means more updates on the same data. The data come from the behaviour policy, so exploration has no effect.",
    settings=LabSettings(updates=1_000),
    trials=lambda settings: {
        f"{arm}-{ratio}": partial(trial, arm, ratio, settings) for arm in AGENTS for ratio in RATIOS
    },
    runs=RUNS,
    level="updates for each new transition",
    panels={"score": SCORE, "error": ERROR},
    statements=[
        Statement(
            "At the two highest ratios, floq's policy has a higher score than the monolithic critic's.",
            lambda table: high(table, "floq", "score") - high(table, "monolithic", "score"),
            "of the score",
        ),
        Statement(
            "At the two highest ratios, floq's Q has a smaller error than the monolithic critic's.",
            lambda table: high(table, "monolithic", "error") - high(table, "floq", "error"),
            "units of return",
        ),
        Statement(
            f"floq's score is higher at a ratio of {RATIOS[-1]} than at a ratio of 1.",
            lambda table: table.of("floq", RATIOS[-1], "score") - table.of("floq", 1, "score"),
            "of the score",
        ),
    ],
    log_level=True,
)
