"""Noise in the TD targets: which critic bears more of it?"""

from functools import partial

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


NOISES = (0.0, 2.0, 4.0, 8.0, 16.0)
AGENTS = {"floq": flow_agents, "monolithic": monolithic_agents}


def trial(arm: str, noise: float, settings: LabSettings) -> list[Measurement]:
    """Trains one kind of critic on noisy targets."""
    agents = train(AGENTS[arm](settings), lab_data(settings, target_noise=noise), settings)
    where = checks()
    score, error = of_each_seed(lambda critic: (policy_score(critic, where), value_error(critic, where)), agents)
    return measurements(arm, noise, {"score": score, "error": error})


def loss_to_noise(table: Table, arm: str, metric: str) -> np.ndarray:
    """How far a metric rises from no noise, the mean over the scales of noise."""
    quiet = table.of(arm, NOISES[0], metric)
    return np.mean([table.of(arm, noise, metric) - quiet for noise in NOISES[1:]], axis=0)


STUDY = Study(
    name="target_noise",
    claim="Flow critics are robust to noise in TD targets, monolithic critics are not.",
    design="Gaussian noise, new in every update, is added to the reward of every drawn transition, and so to its TD "
    "target. Values lie between -13 and 0; the noise of a transition is the same for all its noise samples.",
    settings=LabSettings(),
    trials=lambda settings: {
        f"{arm}-{noise:g}": partial(trial, arm, noise, settings) for arm in AGENTS for noise in NOISES
    },
    level="standard deviation of the noise",
    panels={"score": "score of the greedy policy", "error": "error of Q (RMS)"},
    statements=[
        Statement(
            "Noise costs the monolithic critic's policy more of its score than floq's.",
            lambda table: loss_to_noise(table, "floq", "score") - loss_to_noise(table, "monolithic", "score"),
            "of the score",
        ),
        Statement(
            "Noise adds more error to the monolithic critic's Q than to floq's.",
            lambda table: loss_to_noise(table, "monolithic", "error") - loss_to_noise(table, "floq", "error"),
            "units of return",
        ),
    ],
)
