import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from floqzoo.training import MetricLog, read_metrics


names = st.sampled_from(["training/critic/q_mean", "training/actor/actor_loss", "time/total_time", "a,b", 'say "hi"'])
rows = st.lists(st.dictionaries(names, st.floats(width=64), max_size=5), min_size=1, max_size=6)


@given(rows)
def test_what_is_written_is_read(tmp_path_factory, rows):
    """Whatever the order in which columns appear, with NaN and infinity, and by any number of writers in turn."""
    path = tmp_path_factory.mktemp("log") / "train.csv"
    for step, row in enumerate(rows):
        MetricLog(path).write(step, row)
        assert list(read_metrics(path)["step"]) == list(range(step + 1))
    columns = read_metrics(path)
    assert set(columns) == {"step"}.union(*rows)
    for step, row in enumerate(rows):
        for name, column in columns.items():
            np.testing.assert_equal(column[step], step if name == "step" else row.get(name, math.nan))


def test_the_file_is_a_plain_table(tmp_path):
    log = MetricLog(tmp_path / "train.csv")
    log.write(10, {"a": 1.0})
    log.write(20, {"b": 0.1})
    log.write(30, {"a": math.inf, "b": 3})
    assert log.path.read_text() == "step,a,b\n10,1.0,\n20,,0.1\n30,inf,3.0\n"
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]


def test_a_missing_log_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no metric log at"):
        read_metrics(tmp_path / "train.csv")


@pytest.mark.parametrize("text", ["", "epoch,loss\n1,2\n", "step,loss\n1\n"])
def test_another_table_is_refused(tmp_path, text):
    path = tmp_path / "train.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match="must be a table with a first column `step`"):
        read_metrics(path)
