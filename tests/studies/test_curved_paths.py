"""Differences between paths, from rows that are known."""

import pytest

from floqzoo.studies.curved_paths import difference, differences, draw, table_of
from floqzoo.studies.horizon_sweep import SweepRow
from floqzoo.studies.report import mean_of, read_table, write_rows


def rows():
    """TD²-CFM gains nothing, coupled TD loses 1 and 3."""
    return [
        SweepRow(path, method, 20, seed, emd, 0.0, 0.0, 0.0)
        for path, method, values in (
            ("straight", "td2-cfm", (1.0, 2.0)),
            ("curved", "td2-cfm", (1.0, 2.0)),
            ("straight", "td-cfm-c", (1.0, 2.0)),
            ("curved", "td-cfm-c", (2.0, 5.0)),
        )
        for seed, emd in enumerate(values)
    ]


def test_each_seed_is_compared_with_itself(tmp_path):
    found = difference(rows(), "emd", "td-cfm-c")
    assert (found.mean, found.error) == (2.0, pytest.approx(1.0))
    assert difference(rows(), "emd", "td2-cfm").mean == 0
    columns, lines = table_of(rows())
    assert columns[0] == "curved minus straight"
    assert [line[:2] for line in lines] == [["TD-CFM(C)", "2 ± 1"], ["TD²-CFM", "0 ± 0"]]
    means = differences(rows())
    assert [(row.metric, row.method, row.mean) for row in means if row.metric == "emd"] == [
        ("emd", "td-cfm-c", 2.0),
        ("emd", "td2-cfm", 0.0),
    ]
    assert draw(means, tmp_path / "figure.png").stat().st_size > 0


def test_both_paths_must_have_the_same_seeds():
    with pytest.raises(
        ValueError, match="'td2-cfm' must have rows of the same horizons and seeds on the curved and the straight path"
    ):
        difference(rows()[1:], "emd", "td2-cfm")
    with pytest.raises(ValueError, match="'mc-cfm' must have rows"):
        difference(rows(), "emd", "mc-cfm")


def test_a_table_is_read_as_it_was_written_and_only_by_its_own_rows(tmp_path):
    table = write_rows(rows(), tmp_path / "rows.csv")
    assert read_table(SweepRow, table) == rows()
    other = write_rows([mean_of([1.0, 2.0])], tmp_path / "other.csv")
    with pytest.raises(ValueError, match="must have the columns path, method, horizon, seed"):
        read_table(SweepRow, other)
