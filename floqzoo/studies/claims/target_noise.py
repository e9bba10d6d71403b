"""Which critic tolerates more noise in its TD targets?"""

from dataclasses import replace
from functools import partial

import numpy as np

from floqzoo.runs.run_store import SUCCESS_METRIC
from floqzoo.studies.critic_lab import AGENTS, ERROR, SCORE, LabSettings, lab_data, score_and_error, train
from floqzoo.studies.study import Measurement, RunExperiment, Statement, Study, Table, Variant, measurements


NOISES = (0.0, 1.0, 2.0, 4.0, 8.0)
RATES = (1e-3, 3e-3)


def arm_of(kind: str, rate: float) -> str:
    """Returns the name of the arm for one kind of critic and one learning rate."""
    return f"{kind}, learning rate {rate:g}"


def trial(kind: str, rate: float, noise: float, settings: LabSettings) -> list[Measurement]:
    """Trains one kind of critic on all seeds with noisy targets, and returns its scores and errors."""
    settings = replace(settings, lr=rate)
    agents = train(AGENTS[kind](settings), lab_data(settings, target_noise=noise), settings)
    return measurements(arm_of(kind, rate), noise, score_and_error(agents))


def at_best_rate(table: Table, kind: str, noise: float, metric: str) -> np.ndarray:
    """Returns a metric at one noise scale, with the learning rate whose mean over seeds is the best."""
    at_rates = [table.of(arm_of(kind, rate), noise, metric) for rate in RATES]
    return (min if metric == "error" else max)(at_rates, key=np.mean)


def change_by_noise(table: Table, kind: str, metric: str) -> np.ndarray:
    """Returns the increase of a metric over its value without noise, averaged over the noise scales."""
    quiet = at_best_rate(table, kind, NOISES[0], metric)
    return np.mean([at_best_rate(table, kind, noise, metric) - quiet for noise in NOISES[1:]], axis=0)


MAGNITUDES = (0.0, 4.0, 8.0, 16.0)


def success_lost(table: Table, arm: str) -> np.ndarray:
    """Returns the success rate without noise minus the success rate with noise, averaged over the noise scales."""
    quiet, *noisy = (table.of(arm, level, SUCCESS_METRIC) for level in table.levels(arm, SUCCESS_METRIC))
    return quiet - np.mean(noisy, axis=0)


RUNS = RunExperiment(
    design="floq and FQL with Gaussian noise in the TD targets. It is independent for each transition in each batch. At the scale "
    "`paper`, the tasks and the magnitudes are the published ones; the published experiment does not say which "
    "distribution its noise has.",
    level="standard deviation of the noise",
    variants=lambda scale: [
        Variant(arm=arm, recipe=arm, level=magnitude, fields={"agent.target_noise_magnitude": magnitude})
        for arm in ("floq", "fql")
        for magnitude in MAGNITUDES
    ],
    tasks=(
        "humanoidmaze-medium-navigate-singletask-task1-v0",
        "antsoccer-arena-navigate-singletask-task4-v0",
        "antmaze-large-navigate-singletask-task1-v0",
    ),
    panels={SUCCESS_METRIC: "success (rate)"},
    statements=[
        Statement(
            "Noise reduces the success rate of FQL more than that of floq.",
            lambda table: success_lost(table, "fql") - success_lost(table, "floq"),
            "of the success rate",
        ),
    ],
)
STUDY = Study(
    name="target_noise",
    claim="Flow critics are robust to noise in TD targets, whereas monolithic critics are not.",
    design="In every update, new Gaussian noise is added to the reward of every sampled transition, and thus to its TD "
    "target. All noise samples of floq for the same transition share this added noise. For comparison, values lie between "
    "-13 and 0. Noisy targets require a smaller learning rate, so at each scale of the noise, each metric of each critic is "
    "taken at the better of two learning rates. "
    "A flow learns the noise in its targets as part of the distribution, and its own targets average "
    "over only two noise samples. The papers use eight samples, which this study did not try.",
    settings=LabSettings(),
    trials=lambda settings: {
        f"{kind}-{rate:g}-{noise:g}": partial(trial, kind, rate, noise, settings)
        for kind in AGENTS
        for rate in RATES
        for noise in NOISES
    },
    runs=RUNS,
    level="standard deviation of the noise",
    panels={"score": SCORE, "error": ERROR},
    statements=[
        Statement(
            "Noise reduces the score of the monolithic critic's policy more than the score of floq's policy.",
            lambda table: change_by_noise(table, "floq", "score") - change_by_noise(table, "monolithic", "score"),
            "of the score",
        ),
        Statement(
            "Noise increases the error of the monolithic critic's Q more than the error of floq's Q.",
            lambda table: change_by_noise(table, "monolithic", "error") - change_by_noise(table, "floq", "error"),
            "units of return",
        ),
    ],
)
