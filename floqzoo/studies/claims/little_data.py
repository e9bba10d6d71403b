"""Which critic needs fewer transitions?"""

from functools import partial

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from floqzoo.runs.run_store import SUCCESS_METRIC
from floqzoo.studies.critic_lab import AGENTS, ERROR, SCORE, LabSettings, lab_data, score_and_error, train
from floqzoo.studies.study import Measurement, RunExperiment, Statement, Study, Table, Variant, measurements


TRANSITIONS = (300, 1_000, 3_000, 10_000)


def trial(arm: str, transitions: int, settings: LabSettings) -> list[Measurement]:
    """Trains one kind of critic on the first `transitions` transitions of each seed's dataset, and returns its scores
    and errors."""
    data = lab_data(settings)
    data = eqx.tree_at(lambda data: data.count, data, jnp.full_like(data.count, transitions))
    agents = train(AGENTS[arm](settings), data, settings)
    return measurements(arm, transitions, score_and_error(agents))


def with_few(table: Table, arm: str, metric: str) -> np.ndarray:
    """Returns the mean of a metric over all dataset sizes except the largest."""
    return np.mean([table.of(arm, size, metric) for size in TRANSITIONS[:-1]], axis=0)


EPISODES = {"ogbench-small": (1, 3, 10, 30), "paper": (10, 100, 1_000)}


def success_with_few(table: Table, arm: str) -> np.ndarray:
    """Returns the mean success rate over all numbers of episodes except the largest."""
    return np.mean([table.of(arm, level, SUCCESS_METRIC) for level in table.levels(arm, SUCCESS_METRIC)[:-1]], axis=0)


RUNS = RunExperiment(
    design="floq and FQL on the first episodes of the same dataset, with the same number of updates. We know of no "
    "published protocol, so the tasks and the numbers of episodes are our choice.",
    level="episodes",
    variants=lambda scale: [
        Variant(arm=arm, recipe=arm, level=episodes, fields={"dataset_episodes": episodes})
        for arm in ("floq", "fql")
        for episodes in EPISODES[scale]
    ],
    tasks=("antmaze-large-navigate-singletask-task1-v0", "cube-double-play-singletask-task2-v0"),
    panels={SUCCESS_METRIC: "success (rate)"},
    statements=[
        Statement(
            "With few episodes, floq has a higher success rate than FQL.",
            lambda table: success_with_few(table, "floq") - success_with_few(table, "fql"),
            "of the success rate",
        ),
    ],
    log_level=True,
)
STUDY = Study(
    name="little_data",
    claim="Flow critics still work with little data, where monolithic critics fail.",
    design="This study trains both critics on the first transitions of the same dataset, with the same number of updates. "
    "The transitions are independent of each other, because the data of this maze do not consist of episodes.",
    settings=LabSettings(),
    trials=lambda settings: {
        f"{arm}-{size}": partial(trial, arm, size, settings) for arm in AGENTS for size in TRANSITIONS
    },
    runs=RUNS,
    level="transitions",
    panels={"score": SCORE, "error": ERROR},
    statements=[
        Statement(
            "With 300 to 3,000 transitions, floq's policy has a higher score than the monolithic critic's.",
            lambda table: with_few(table, "floq", "score") - with_few(table, "monolithic", "score"),
            "of the score",
        ),
        Statement(
            "With 300 to 3,000 transitions, floq's Q has a smaller error than the monolithic critic's.",
            lambda table: with_few(table, "monolithic", "error") - with_few(table, "floq", "error"),
            "units of return",
        ),
    ],
    log_level=True,
)
