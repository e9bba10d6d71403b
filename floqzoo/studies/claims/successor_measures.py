"""Which method learns more accurate successor measures, TD-CFM or TD²-CFM?"""

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np

from floqzoo.studies.horizon_sweep import LABELS, SweepConfig, chain_probe
from floqzoo.studies.study import Measurement, Statement, Study, Table
from floqzoo.studies.successor_errors import errors_of
from floqzoo.studies.successor_training import TrainingSettings, train_on_chain
from floqzoo.successor.methods import METHODS


COMPARED = ("td-cfm", "td2-cfm")
HORIZONS = (5, 100)
TD, TD2 = (LABELS[method] for method in COMPARED)


@dataclass(frozen=True, kw_only=True)
class ChainSettings(TrainingSettings):
    """Settings of all methods; published values are in brackets."""

    seeds: int = 24
    """Number of models of each method at each horizon (3)."""


def trial(method: str, horizon: int, settings: ChainSettings) -> list[Measurement]:
    """Trains one method at one horizon on all seeds, and returns the errors of its models."""
    seeds = list(range(settings.seeds))
    measures = train_on_chain(METHODS[method], np.full(len(seeds), 1 - 1 / horizon), seeds, settings)
    truth, rows = chain_probe(SweepConfig(), horizon), []
    for seed, measure in enumerate(measures):
        errors = errors_of(measure, truth, jax.random.key(20_000 + seed))
        metrics = {"emd": errors.emd, "nll": errors.nll, "value_error": errors.value_mse**0.5}
        rows += [
            Measurement("LinearGaussian", LABELS[method], float(horizon), seed, metric, value)
            for metric, value in metrics.items()
        ]
    return rows


def advantage(table: Table, metric: str, horizons: tuple[int, ...] = HORIZONS) -> np.ndarray:
    """Returns a metric of TD-CFM minus that of TD²-CFM, averaged over the given horizons."""
    return np.mean([table.of(TD, horizon, metric) - table.of(TD2, horizon, metric) for horizon in horizons], axis=0)


STUDY = Study(
    name="successor_measures",
    claim="TD²-CFM, which bootstraps on velocities, learns more accurate successor measures than TD-CFM, which bootstraps on "
    "samples. Its advantage grows with the horizon.",
    design="This study does not use the maze, but a linear-Gaussian chain with two state coordinates, whose successor measure "
    "is known exactly. Each method learns the measure of the chain's policy at an effective horizon 1 / (1 - γ), from one-step "
    "transitions that are drawn independently for every batch. All methods have the same networks (three layers of 64 units), "
    "batches of 256, 10,000 updates and AdamW with a learning rate of 1e-3. The source of the claim is TD-Flow (arXiv "
    "2503.09817). A study of more methods and horizons is described in the guide to successor measures.",
    settings=ChainSettings(),
    trials=lambda settings: {
        f"{method}-{horizon}": partial(trial, method, horizon, settings) for method in COMPARED for horizon in HORIZONS
    },
    level="effective horizon (steps)",
    panels={
        "emd": "earth mover's distance to true futures (units of state)",
        "nll": "negative log-likelihood of true futures (nats per coordinate)",
        "value_error": "RMS error of the value (units of return)",
    },
    statements=[
        Statement(
            "Sampled futures are closer to true futures with TD²-CFM than with TD-CFM.",
            lambda table: advantage(table, "emd"),
            "units of state",
        ),
        Statement(
            "True futures are more likely under TD²-CFM than under TD-CFM.",
            lambda table: advantage(table, "nll"),
            "nats per coordinate",
        ),
        Statement(
            "The difference of the earth mover's distance is larger at a horizon of 100 than at a horizon of 5.",
            lambda table: advantage(table, "emd", (100,)) - advantage(table, "emd", (5,)),
            "units of state",
        ),
        Statement(
            "Values computed from sampled futures have a smaller error with TD²-CFM than with TD-CFM.",
            lambda table: np.mean(
                [np.log10(table.of(TD, h, "value_error") / table.of(TD2, h, "value_error")) for h in HORIZONS], axis=0
            ),
            "orders of magnitude",
        ),
    ],
    log_level=True,
)
