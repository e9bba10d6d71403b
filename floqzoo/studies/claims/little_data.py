"""Which critic needs fewer transitions?"""

from functools import partial

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from floqzoo.studies.critic_lab import AGENTS, ERROR, SCORE, LabSettings, lab_data, score_and_error, train
from floqzoo.studies.study import Measurement, Statement, Study, Table, measurements


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


STUDY = Study(
    name="little_data",
    claim="Flow critics still work with little data, where monolithic critics fail.",
    design="This study trains both critics on the first transitions of the same dataset, with the same number of updates. "
    "The transitions are independent of each other, because the data of this maze do not consist of episodes.",
    settings=LabSettings(),
    trials=lambda settings: {
        f"{arm}-{size}": partial(trial, arm, size, settings) for arm in AGENTS for size in TRANSITIONS
    },
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
