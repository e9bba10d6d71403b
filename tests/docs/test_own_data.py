"""The guide on data of one's own states what its stored runs measured, and it is better than what the data did."""

import re
from pathlib import Path

import numpy as np
import pytest

from floqzoo.results import compare_runs
from floqzoo.runs import read_metrics


DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "guides" / "own-data.md").read_text()


def row(text, method):
    """The numbers of a method's row in the table after a text."""
    table = GUIDE[GUIDE.index(text) :]
    cells = re.search(rf"^\| {method},[^|]*\|(.*)\|$", table, re.MULTILINE)[1]
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", cells)]


@pytest.mark.parametrize("method", ["floq", "fql"])
@pytest.mark.parametrize(
    ("name", "metric", "text", "behaviour"),
    [
        ("pendulum", "evaluation/episode.return", "| | return per episode |", -906.0),
        ("point", "evaluation/success", "| | success rate in % |", 70.0),
    ],
)
def test_the_tables_are_those_of_the_stored_runs(name, metric, text, behaviour, method):
    found = compare_runs([DOCS / "runs" / name], metric=metric)
    (score,) = (each for each in found.of("mean") if each.method == method)
    mean, low, high, *others = row(text, {"floq": "floq", "fql": "FQL"}[method])
    scale = 100 if metric.endswith("success") else 1
    for stated, measured in zip((mean, low, high), (score.value, score.low, score.high), strict=True):
        assert abs(stated - scale * measured) <= 0.5
    assert low > behaviour
    if others:
        table = read_metrics(DOCS / "runs" / name / method / "eval.csv")
        returns = table["evaluation/episode.return"][table["step"] == table["step"].max()]
        assert others == [pytest.approx(np.mean(returns), abs=0.05)]
