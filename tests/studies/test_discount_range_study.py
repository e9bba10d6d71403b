"""The study of one network for a range of discounts: its rows, and that its separate networks are those of the sweep."""

from dataclasses import replace

import pytest

from floqzoo.studies.discount_range import EACH, RANGE, TRUTH, RangeConfig, discount_range
from floqzoo.studies.horizon_sweep import SweepConfig, horizon_sweep
from floqzoo.studies.successor_training import TrainingSettings


TINY = TrainingSettings(hidden=(8,), updates=500, batch_size=16)


@pytest.mark.slow
def test_separate_networks_are_those_of_the_horizon_sweep():
    """The sweep trains and measures the same models, so both have the same errors."""
    rows = discount_range(RangeConfig(horizons=(2, 4), seeds=1, training=TINY))
    cases = [(row.method, row.horizon, row.seed) for row in rows]
    assert cases == [(name, h, seed) for h in (2, 4) for name, seed in ((TRUTH, -1), (EACH, 0), (RANGE, 0))]
    swept = horizon_sweep(SweepConfig(methods=("td2-cfm",), horizons=(2, 4), seeds=1, training=TINY))
    separate = [replace(row, method="td2-cfm") for row in rows if row.method == EACH]
    assert separate == [row for row in swept if row.seed == 0]
    every = {row.horizon: row for row in rows if row.method == RANGE}
    assert every[2].nll != every[4].nll


def test_a_range_of_one_horizon_is_refused():
    with pytest.raises(ValueError, match=r"`horizons` must be at least two different numbers; got \(5,\)"):
        RangeConfig(horizons=(5,))
