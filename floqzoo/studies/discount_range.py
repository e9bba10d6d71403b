r"""Compares one successor measure for a range of discounts with a separate measure for each discount.

All measures are trained by TD²-CFM on the analytic chain, with the same number of updates, and are compared
with the exact measure at several effective horizons $1 / (1 - \gamma)$.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from floqzoo.studies.horizon_sweep import LABELS, TRUTH, SweepConfig, SweepRow, chain_probe, rows_of, table_of
from floqzoo.studies.positive_settings import require_positive
from floqzoo.studies.report import print_table, write_rows
from floqzoo.studies.successor_errors import METRICS, errors_of_truth
from floqzoo.studies.successor_training import TrainingSettings, train_on_chain
from floqzoo.successor.discount_range import DiscountRangeSuccessor
from floqzoo.successor.methods import METHODS
from floqzoo.training.cli_errors import errors_explained


EACH, RANGE = "one network for each", "one network for all"


@dataclass(frozen=True, kw_only=True)
class RangeConfig:
    """The settings of the comparison."""

    directory: Path = Path("docs/figures")
    """Output folder for the errors of each model (discount_range.csv)."""
    horizons: tuple[int, ...] = (5, 10, 20, 50)
    """At least two different effective horizons, each above 1; their extremes set the range of discounts."""
    seeds: int = 3
    """Number of models of each kind."""
    training: TrainingSettings = TrainingSettings()
    """How each model is trained."""

    def __post_init__(self):
        require_positive(self)
        if len(set(self.horizons)) < 2:
            raise ValueError(f"`horizons` must be at least two different numbers; got {self.horizons}.")


def range_measure(low: float, high: float, field: Any, dim: int, **parts: Any) -> DiscountRangeSuccessor:
    """Builds a measure that is trained by TD²-CFM for all discounts from `low` to `high`."""
    return DiscountRangeSuccessor(METHODS["td2-cfm"](field, dim, **parts), low, high)


def discount_range(config: RangeConfig) -> list[SweepRow]:
    """Trains all models, and returns their errors at every horizon."""
    sweep, seeds, rows = SweepConfig(horizons=config.horizons), list(range(config.seeds)), []
    discounts = {horizon: 1 - 1 / horizon for horizon in config.horizons}
    low, high = min(discounts.values()), max(discounts.values())
    train = partial(train_on_chain, seeds=seeds, settings=config.training)
    of_range = train(partial(range_measure, low, high), np.full(len(seeds), high), further_conditions=1)
    for horizon, discount in discounts.items():
        probe = chain_probe(sweep, horizon)
        rows.append(SweepRow.of("straight", TRUTH, horizon, -1, errors_of_truth(probe)))
        of_one = train(METHODS["td2-cfm"], np.full(len(seeds), discount))
        rows += rows_of("straight", EACH, horizon, of_one, probe)
        rows += rows_of("straight", RANGE, horizon, [measure.at(discount) for measure in of_range], probe)
    return rows


def main(config: Annotated[RangeConfig, tyro.conf.arg(name="")]) -> None:
    """Runs the comparison, prints its tables, and writes the errors of each model."""
    rows = discount_range(config)
    for metric, title in METRICS.items():
        print_table(title, *table_of(rows, metric, {EACH: EACH, RANGE: RANGE, TRUTH: LABELS[TRUTH]}))
    print(f"table: {write_rows(rows, config.directory / 'discount_range.csv')}")


if __name__ == "__main__":
    with errors_explained():
        main(tyro.cli(RangeConfig, description=__doc__, use_underscores=True))
