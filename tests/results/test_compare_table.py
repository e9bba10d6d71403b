"""A table tells the numbers of its comparison, rounded, and each once."""

import dataclasses
import math
import re

import pytest
from hypothesis import given, strategies as st

from floqzoo.results.compare import IMPROVEMENT, IQM, MEAN, ComparedRow, Comparison
from floqzoo.results.compare_table import comparison_markdown, comparison_text
from floqzoo.results.reference_scores import ReferenceGroup, ReferenceScore


NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?"
# A mean lies in [0, 1] with success, and in [-1e6, 1e6] without; low, value and high, whether there is one seed, how many.
numbers = st.tuples(st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted), st.booleans(), st.integers(1, 20))
asked = (st.booleans(), st.sampled_from([1, 2]), st.lists(numbers, min_size=12, max_size=12))


def comparison_of(success, tasks, numbers):
    """Two methods on some tasks."""
    numbers = iter(numbers)

    def row(task, method, over, statistic):
        (low, value, high), one_seed, seeds = next(numbers)
        if not success and statistic != IMPROVEMENT:
            low, value, high = (1e6 * (2 * share - 1) ** 9 for share in (low, value, high))
        low, high = (math.nan, math.nan) if one_seed else (low, high)
        return ComparedRow(task, method, over, statistic, value, low, high, seeds)

    rows = []
    for task in ["maze", "puzzle"][:tasks]:
        rows += [row(task, method, "", each) for method in ("floq", "fql") for each in (MEAN, IQM)]
        rows += [row(task, *pair, IMPROVEMENT) for pair in (("floq", "fql"), ("fql", "floq"))]
    return Comparison("evaluation/success" if success else "evaluation/episode.return", 0.95, tuple(rows), ())


def assert_told(cell, row, scale):
    """The cell holds the value and its interval: in per cent with one decimal, up to 1 with two, or with four digits."""
    values = [row.value] if math.isnan(row.low) else [row.value, row.low, row.high]
    assert cell.endswith("[-]") is math.isnan(row.low)
    told = re.findall(NUMBER, cell.replace("[-]", ""))
    assert len(told) == len(values)
    for text, value in zip(told, values, strict=True):
        digits, decimals = re.sub(r"e.*|\D", "", text).lstrip("0"), len(text.partition(".")[2])
        if scale == 100:
            assert decimals == 1 and float(text) == pytest.approx(100 * value, abs=0.0501)
        elif abs(value) <= 1:
            assert decimals == 2 and float(text) == pytest.approx(value, abs=0.00501)
        else:
            assert len(digits) <= 4 and float(text) == pytest.approx(value, rel=5.01e-4)


@given(*asked)
def test_a_table_tells_every_number_rounded(success, tasks, numbers):
    comparison = comparison_of(success, tasks, numbers)
    lines = comparison_markdown(comparison).splitlines()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    tables = "\n".join("|".join(cells) for cells in lines)
    scale = 100 if success else 1
    rows = {(row.task, row.method, row.over, row.statistic): row for row in comparison.rows}
    found, task = [], ""
    for cells in (cells for cells in lines if set("".join(cells)) - set("-: ")):
        if cells[0] == "task":
            task = ""
            continue
        assert cells[0] != task, f"{task} is named twice in {tables}"
        task = cells[0] or task
        if len(cells) == 5:
            for cell, statistic in zip(cells[3:], (MEAN, IQM), strict=True):
                row = rows[task, cells[1], "", statistic]
                assert_told(cell, row, scale)
                found.append(row)
            assert int(cells[2]) == rows[task, cells[1], "", MEAN].seeds
        else:
            row = rows[task, cells[1], cells[2], IMPROVEMENT]
            assert_told(cells[3], row, 1)
            found.append(row)
    assert len(found) == len(rows)


@given(st.booleans(), st.lists(st.lists(st.floats(0.001, 1), min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_reference_is_the_mean_of_its_seeds_or_as_its_source_prints_it(success, points):
    def score(step, seed, value):
        spread = value / 8 if seed is None else None
        return ReferenceScore("floq", "maze", step, seed, value, spread, "paper", "as published")

    curve = [
        (step, tuple(score(step, seed if len(values) > 1 else None, value) for seed, value in enumerate(values)))
        for step, values in enumerate(points, 1)
    ]
    metric = "evaluation/success" if success else "evaluation/episode.return"
    group = ReferenceGroup("floq", "maze", "paper", "as published", tuple(curve))
    lines = comparison_markdown(Comparison(metric, 0.95, (), (), (group,))).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.endswith("| as published |")]
    assert [row[2] for row in rows] == [str(step) for step, _ in curve]
    for row, values in zip(rows, points, strict=True):
        wanted = [sum(values) / len(values)] + [value / 8 for value in values if len(values) == 1]
        assert row[3] == (str(len(values)) if len(values) > 1 else "")
        told = [float(number) for number in re.findall(NUMBER, row[4])]
        assert told == pytest.approx([(100 if success else 1) * value for value in wanted], rel=5.01e-4)


@given(*asked)
def test_text_and_markdown_tell_the_same_numbers(success, tasks, numbers):
    comparison = comparison_of(success, tasks, numbers)
    assert comparison_markdown(comparison).count("[95 % interval]") == 3
    assert "[90 % interval]" in comparison_markdown(dataclasses.replace(comparison, confidence=0.9))
    told = [
        re.findall(NUMBER, re.sub(r"95 % interval|\(%\)", "", write(comparison)))
        for write in (comparison_text, comparison_markdown)
    ]
    assert told[0] == told[1]
