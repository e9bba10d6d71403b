"""The list of runs, as text."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from written_runs import TASK, write_run

import recipes
from floqzoo.results.run_list import RunSummary, list_runs, run_lines, seed_range
from floqzoo.tasks import task_names
from floqzoo.tasks.files import read_json, write_json


names = st.sampled_from(recipes.NAMES)
states = st.sampled_from(["finished", "interrupted", "failed", "running"])
metrics = st.sampled_from(["evaluation/success", "evaluation/episode.return"])


@given(names, st.integers(1, 10**7), st.floats(0, 1) | st.just(np.nan), metrics, states, st.data())
def test_a_run_of_any_method_on_any_task_fits_80_columns_with_all_that_is_known_of_it(
    tmp_path_factory, recipe, steps, score, metric, state, data
):
    pytest.importorskip("ogbench")
    task = data.draw(st.sampled_from(sorted(task_names())))
    folder = tmp_path_factory.getbasetemp()
    run = RunSummary(
        folder / "group" / "sd000",
        *(recipe, task, (0, 1, 2), steps, 10**7, metric, score, score / 3, state),
        date="2026-11-20T09:13:05+00:00",
    )
    first, *lines = run_lines(run, folder)
    assert first == "group/sd000"
    assert max(map(len, lines)) <= 80 and all(line.startswith("    ") for line in lines)
    text = " ".join(" ".join(lines).split())
    for part in (f"{recipe} on {task}, seeds 0-2", state, f"{steps:,} of 10,000,000 steps", "started 2026-11-20 09:13"):
        assert part in text
    assert ("not evaluated" in text) == np.isnan(score)


def test_the_problem_of_an_unreadable_run_is_wrapped_and_complete(tmp_path):
    problem = "the run was written by another version. " * 5
    path, *lines = run_lines(RunSummary(tmp_path, problem=problem), tmp_path)
    assert path == tmp_path.name and max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines).split()) == f"unreadable: {problem.strip()}"


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        *(
            ("flags.json", name, value)
            for name in ("offline_steps", "online_steps")
            for value in ("20", None, [1], 2.5)
        ),
        *(("machine.json", "earlier", value) for value in (3, [3], {"started": 3})),
        *(("machine.json", "started", value) for value in (3, None)),
    ],
)
def test_a_run_with_a_malformed_record_is_unreadable_and_the_others_are_listed(tmp_path, file, name, value):
    good, bad = (write_run(tmp_path / run, success={0: [0.5]}) for run in ("good", "bad"))
    write_json(bad / file, read_json(bad / file) | {name: value})
    runs = {run.directory: run for run in list_runs(tmp_path)}
    assert (runs[good].state, runs[good].problem, runs[bad].state) == ("finished", "", "unreadable")
    assert f"{bad / file} must have `{name}`" in runs[bad].problem


def test_a_path_is_never_broken(tmp_path):
    run = RunSummary(
        *(tmp_path / ("long" * 30), "floq", TASK, (0, 3), 10, 20, "evaluation/success", 0.3, 0.1, "interrupted"),
        date="2026-11-20T08:00:00+00:00",
    )
    assert run_lines(run, tmp_path) == [
        "long" * 30,
        f"    floq on {TASK}, seeds 0, 3",
        "    interrupted, 10 of 20 steps, success 30 ± 10 %, started 2026-11-20 08:00",
    ]


@given(st.sets(st.integers(0, 20), min_size=1))
def test_seeds_in_short_form_are_those_seeds(seeds):
    text = seed_range(sorted(seeds))
    low, _, high = text.partition("-")
    found = set(range(int(low), int(high) + 1)) if high else set(map(int, text.split(", ")))
    assert found == seeds
