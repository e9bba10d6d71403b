import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from floqzoo.runs import MetricLog, read_metrics
from floqzoo.runs.metric_log import cut_metrics


names = st.sampled_from(["training/critic/q_mean", "training/actor/actor_loss", "time/total_time", "a,b", 'say "hi"'])
rows = st.lists(st.dictionaries(names, st.floats(width=64), max_size=5), min_size=1, max_size=6)


TEXT = "step,seed,a\n10,0,1.0\n20,0,2.5\n"


@given(rows, st.integers(1, 3))
def test_what_is_written_is_read(tmp_path_factory, rows, seeds):
    """Whatever the order in which columns appear, with NaN and infinity, and by any number of writers in turn."""
    path = tmp_path_factory.mktemp("log") / "train.csv"
    for step, row in enumerate(rows):
        MetricLog(path).write(step, {7 + seed: row for seed in range(seeds)})
        assert list(read_metrics(path)["step"]) == [s for s in range(step + 1) for _ in range(seeds)]
    columns = read_metrics(path)
    assert set(columns) == {"step", "seed"}.union(*rows)
    np.testing.assert_array_equal(columns.pop("seed"), list(range(7, 7 + seeds)) * len(rows))
    for step, row in enumerate(rows):
        for name, column in columns.items():
            np.testing.assert_equal(column[step * seeds], step if name == "step" else row.get(name, math.nan))


@given(rows, st.data())
def test_what_is_cut_and_written_anew_is_as_if_it_never_was(tmp_path_factory, rows, data):
    """However many rows are taken back, and whatever a kill left of one more."""
    path = tmp_path_factory.mktemp("log") / "train.csv"
    for step, row in enumerate(rows):
        MetricLog(path).write(step, {0: row})
    whole = path.read_text()
    kept = data.draw(st.integers(0, len(rows)))
    with path.open("a") as file:
        file.write("99,0,1.2"[: data.draw(st.integers(0, 8))])
    cut_metrics(path, len(rows))
    assert path.read_text() == whole
    cut_metrics(path, kept)
    for step, row in enumerate(rows[kept:], start=kept):
        MetricLog(path).write(step, {0: row})
    assert path.read_text() == whole or kept == 0  # From the very beginning columns may come in another order.
    np.testing.assert_array_equal(read_metrics(path)["step"], range(len(rows)))


@pytest.mark.parametrize("kept", range(len(TEXT) + 1))
def test_a_row_that_was_broken_off_is_left_out(tmp_path, kept):
    """Whatever part of a file a killed process wrote: its whole rows are read, and continued."""
    path = tmp_path / "train.csv"
    path.write_text(TEXT[:kept])
    header, *whole = TEXT[:kept].split("\n")[:-1] or [None]
    if header is None:
        with pytest.raises(ValueError, match="must be a table whose first columns are `step` and `seed`"):
            read_metrics(path)
    else:
        assert list(read_metrics(path)["step"]) == [float(row.split(",")[0]) for row in whole]
    MetricLog(path).write(20, {0: {"b": 2.0}})
    if header is None:
        assert path.read_text() == "step,seed,b\n20,0,2.0\n"
    else:
        assert path.read_text() == "".join(
            f"{row}\n" for row in [f"{header},b", *(f"{row}," for row in whole), "20,0,,2.0"]
        )


def test_rows_that_are_gone_are_named(tmp_path):
    MetricLog(tmp_path / "train.csv").write(10, {0: {"a": 1.0}})
    with pytest.raises(ValueError, match="must have at least 2 rows; it has 1"):
        cut_metrics(tmp_path / "train.csv", 2)
    with pytest.raises(ValueError, match="must have at least 1 rows; it has 0"):
        cut_metrics(tmp_path / "eval.csv", 1)


def test_the_file_is_a_plain_table(tmp_path):
    log = MetricLog(tmp_path / "train.csv")
    log.write(10, {0: {"a": 1.0}, 1: {"a": 2.0}})
    log.write(20, {0: {"b": 0.1}, 1: {}})
    log.write(30, {0: {"a": math.inf, "b": 3}})
    assert log.path.read_text() == "step,seed,a,b\n10,0,1.0,\n10,1,2.0,\n20,0,,0.1\n20,1,,\n30,0,inf,3.0\n"
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]
    assert [log.rows_before(step) for step in (10, 11, 30, 31)] == [0, 2, 4, 5]


def test_a_missing_log_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no metric log at"):
        read_metrics(tmp_path / "train.csv")


@pytest.mark.parametrize("text", ["", "epoch,loss\n1,2\n", "step,loss\n1,2\n", "step,seed,loss\n1,2\n"])
def test_another_table_is_refused(tmp_path, text):
    path = tmp_path / "train.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match="must be a table whose first columns are `step` and `seed`"):
        read_metrics(path)


def test_what_is_no_number_is_refused(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("step,seed,loss\n1,0,__import__('os')\n")
    with pytest.raises(ValueError, match="must be a table of numbers"):
        read_metrics(path)
