"""The page that reproduces published scores agrees with the recipes."""

import csv
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
from reproduce_page import DATASETS, METHODS, PUBLISHED, SETTINGS, reproduce_page, settings_of, task_of

from floqzoo.runs import RunConfig, published_settings
from floqzoo.tasks import task_names
from recipes import floq, fql
from recipes.published import floq as published_floq, fql as published_fql


DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "guides" / "reproduce.md").read_text()
TABLES = {
    "FQL, 1M": published_fql.OFFLINE,
    "FQL, 2M": published_fql.BASELINE_OF_FLOQ,
    "floq": published_floq.DEFAULT,
    "floq, best": published_floq.BEST,
}
COMMANDS = [shlex.split(line) for line in re.findall(r"^    (python recipes/.*)$", PAGE, re.MULTILINE)]


def test_there_are_ten_environments_and_five_tasks_that_ogbench_has():
    assert len(DATASETS) == 10 and set(DATASETS) == set(PUBLISHED)
    tasks = {task_of(environment, task) for environment in DATASETS for task in range(1, 6)}
    assert len(tasks) == 50 and tasks <= set(task_names())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("environment", DATASETS)
def test_the_settings_in_the_table_are_the_published_ones(method, environment):
    defaults = floq.FloqConfig() if method.startswith("floq") else fql.FQLConfig()
    settings = published_settings(task_of(environment, 1), TABLES[method], defaults)
    row = dict(zip((*SETTINGS, "updates"), settings_of(method, environment), strict=True))
    for name in SETTINGS:
        if row[name] != "–":
            value = getattr(settings, name)
            assert type(value)(row[name]) == value, name
    assert row["updates"] == ("1,000,000" if method == "FQL, 1M" else "2,000,000")
    assert f"| {environment} | {method} | {' | '.join(row.values())} |" in PAGE


def test_every_command_has_a_recipe_a_preset_and_flags_that_exist():
    assert len(COMMANDS) == len(METHODS) * 50
    presets = {"recipes/floq.py": floq.RECIPE.presets, "recipes/fql.py": fql.RECIPE.presets}
    known = {f"--{field.name}" for field in fields(RunConfig)} | {"--preset"}
    for _, program, *flags in COMMANDS:
        values = dict(zip(flags[::2], flags[1::2], strict=True))
        assert set(values) <= known
        assert values.get("--preset", "default") in presets[program]
        assert values["--success_timing"] == "post"


def test_only_what_was_measured_is_in_the_measured_table(tmp_path):
    head = (DOCS / "results.csv").read_text().splitlines()[0]
    measured = tmp_path / "results.csv"
    measured.write_text(f"{head}\n")
    nothing = reproduce_page(measured)
    assert "None of these 40 scores has been measured" in nothing and "## Measured" not in nothing
    measured.write_text(f"{head}\ncube-single,floq,93.5,1.2,5 × 3,2000000,post,official\n")
    lines = reproduce_page(measured).splitlines()
    assert "| cube-single | floq | 98 ± 3 | 93.5 ± 1.2 | 5 × 3 | 2,000,000 | post | official |" in lines
    assert sum(" ± 1.2 " in line for line in lines) == 1 and not any("|  |" in line for line in lines)


def test_the_published_table_has_a_row_for_each_environment():
    for environment, numbers in PUBLISHED.items():
        assert f"| {environment} | {' | '.join(numbers)} |" in PAGE.splitlines()


def test_every_measured_row_is_one_of_the_table():
    with (DOCS / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["environment"], row["method"]) for row in rows} <= {(e, m) for e in DATASETS for m in METHODS}
