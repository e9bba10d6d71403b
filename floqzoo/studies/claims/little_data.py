"""Little data: which critic needs fewer transitions?"""

from functools import partial

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from floqzoo.studies.critic_lab import (
    LabSettings,
    checks,
    flow_agents,
    lab_data,
    monolithic_agents,
    of_each_seed,
    policy_score,
    train,
    value_error,
)
from floqzoo.studies.study import Measurement, Statement, Study, Table, measurements


TRANSITIONS = (300, 1_000, 3_000, 10_000)
AGENTS = {"floq": flow_agents, "monolithic": monolithic_agents}


def trial(arm: str, transitions: int, settings: LabSettings) -> list[Measurement]:
    """Trains one kind of critic on the first transitions of the dataset."""
    data = lab_data(settings)
    data = eqx.tree_at(lambda data: data.count, data, jnp.full_like(data.count, transitions))
    agents = train(AGENTS[arm](settings), data, settings)
    where = checks()
    score, error = of_each_seed(lambda critic: (policy_score(critic, where), value_error(critic, where)), agents)
    return measurements(arm, transitions, {"score": score, "error": error})


def few(table: Table, arm: str, metric: str) -> np.ndarray:
    """The mean over the sizes below the whole dataset."""
    return np.mean([table.of(arm, size, metric) for size in TRANSITIONS[:-1]], axis=0)


STUDY = Study(
    name="little_data",
    claim="Flow critics work with little data, where monolithic critics fail.",
    design="Both critics on the first transitions of the same dataset, with the same number of updates.",
    settings=LabSettings(),
    trials=lambda settings: {
        f"{arm}-{size}": partial(trial, arm, size, settings) for arm in AGENTS for size in TRANSITIONS
    },
    level="transitions",
    panels={"score": "score of the greedy policy", "error": "error of Q (RMS)"},
    statements=[
        Statement(
            "With 300 to 3,000 transitions floq's policy has a higher score.",
            lambda table: few(table, "floq", "score") - few(table, "monolithic", "score"),
            "of the score",
        ),
        Statement(
            "With 300 to 3,000 transitions floq's Q has a smaller error.",
            lambda table: few(table, "monolithic", "error") - few(table, "floq", "error"),
            "units of return",
        ),
    ],
    log_level=True,
)
