"""The sweep, at a size that is only enough to see that it is right."""

import jax
import numpy as np
import pytest

from floqzoo.flow import LinearPath
from floqzoo.studies.horizon_sweep import (
    TRUTH,
    SweepConfig,
    SweepRow,
    chain_probe,
    draw,
    horizon_sweep,
    means_of,
    summary,
    table_of,
)
from floqzoo.studies.report import markdown_table, mean_of, number, read_table, write_rows
from floqzoo.studies.successor_errors import errors_of, errors_of_truth
from floqzoo.studies.successor_training import TrainingSettings, train_on_chain
from floqzoo.successor import METHODS, flow_measure
from floqzoo.successor.targets import TD2Target
from floqzoo.tasks import ExactField, LinearGaussian


pytestmark = pytest.mark.slow


pytest.importorskip("ot")
TINY = TrainingSettings(hidden=(8,), updates=500, batch_size=8)


def test_a_sweep_leaves_one_row_for_each_model_and_its_files_can_be_read(tmp_path):
    config = SweepConfig(
        directory=tmp_path,
        methods=("td2-cfm",),
        horizons=(2, 4),
        seeds=2,
        states=2,
        samples=16,
        compared=8,
        training=TINY,
    )
    seen = []
    rows = horizon_sweep(config, lambda rows: seen.append(len(rows)))
    assert seen == [4, 6]
    assert {(row.method, row.horizon, row.seed) for row in rows} == {
        *((TRUTH, h, -1) for h in (2, 4)),
        *(("td2-cfm", h, s) for h in (2, 4) for s in (0, 1)),
    }
    assert read_table(SweepRow, write_rows(rows, tmp_path / "rows.csv")) == rows
    means = means_of(rows)
    assert len(means) == 3 * 4 and all(
        row.mean == summary(rows, row.metric, row.method, row.horizon).mean for row in means
    )
    assert draw(means, tmp_path / "figure.png").stat().st_size > 0
    columns, lines = table_of(rows, "emd")
    assert [line[0] for line in lines] == ["TD²-CFM", "two sets of true samples"]
    assert markdown_table(columns, lines).count("\n") == 3
    assert all(np.isfinite([row.emd, row.nll, row.value_mse, row.mmd]).all() for row in rows)


def test_members_are_the_seeds_one_by_one():
    """What a member learns does not depend on who is trained beside it."""
    together = train_on_chain(METHODS["td2-cfm"], np.array([0.5, 0.75]), [3, 4], TINY)
    alone = train_on_chain(METHODS["td2-cfm"], np.array([0.75]), [4], TINY)
    for a, b in zip(jax.tree.leaves(together[1].flow.field), jax.tree.leaves(alone[0].flow.field), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)
    first, second = (jax.tree.leaves(measure.flow.field) for measure in together)
    assert not np.allclose(first[0], second[0], atol=0.05)


def test_the_exact_model_has_the_errors_of_the_truth():
    """Its metrics are those between two sets of true samples, up to what these vary by from draw to draw."""
    config = SweepConfig(states=4, samples=64, compared=64)
    probe = chain_probe(config, 5)
    chain = LinearGaussian.spiral(0.8)
    measure = flow_measure(TD2Target(), ExactField(chain, LinearPath()), 2, discount=0.8)
    exact, truth = errors_of(measure, probe, jax.random.key(0)), errors_of_truth(probe)
    assert exact.emd == pytest.approx(truth.emd, rel=0.3)
    assert exact.nll == pytest.approx(truth.nll, abs=0.02)
    assert abs(exact.mmd - truth.mmd) < 0.05
    assert exact.value_mse < 10


def test_means_have_errors_over_seeds():
    rows = [SweepRow("straight", "td-cfm", 5, seed, emd, 0.0, 0.0, 0.0) for seed, emd in enumerate((1.0, 2.0, 3.0))]
    found = summary(rows, "emd", "td-cfm", 5)
    assert (found.mean, found.error) == (2.0, pytest.approx(1 / 3**0.5))
    assert str(found) == "2 ± 0.577"
    assert np.isnan(mean_of([1.0]).error)
    assert number(1234.5) == "1.23e+03"
    with pytest.raises(ValueError, match="there is no row of the method 'td2-cfm' at horizon 5"):
        summary(rows, "emd", "td2-cfm", 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ("td3",)}, "`methods` must be among .*; got td3"),
        ({"methods": ()}, "`methods` must not be empty"),
        ({"horizons": (1, 5)}, "`horizons` must be numbers above 1"),
        ({"seeds": 0}, "`seeds` must be positive and finite; got 0"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        SweepConfig(**settings)


def test_bad_sizes_are_refused_by_name():
    with pytest.raises(ValueError, match="`samples` must be at least 8; got 4"):
        chain_probe(SweepConfig(states=1, samples=4, compared=8), 2)
