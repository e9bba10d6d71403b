"""Scores from elsewhere: read as they are written, listed apart, and never averaged over protocols."""

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given, strategies as st
from written_runs import OTHER, TASK, write_run

from floqzoo.results import PUBLISHED_SCORES, ReferenceScore, compare_runs, comparison_text, read_reference_scores
from floqzoo.results.plot import draw, plot_runs
from floqzoo.results.reference_scores import reference_groups
from floqzoo.results.series import gather
from floqzoo.runs.run_store import RETURN_METRIC, SUCCESS_METRIC
from floqzoo.runs.stored_run import StoredRun


COLUMNS = ("method", "environment", "step", "seed", "score", "spread", "source", "protocol")


def written(path, rows):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([COLUMNS, *rows])
    path.write_text(text.getvalue())
    return path


def score(method="FQL", environment=TASK, step=10, seed=None, value=0.5, source="a paper", protocol="8 seeds"):
    return ReferenceScore(method, environment, step, seed, value, None, source, protocol)


names = st.sampled_from(["FQL", "floq, best"])
rows = st.builds(
    ReferenceScore,
    names,
    st.sampled_from([TASK, "cube-single-play", OTHER]),
    st.sampled_from([10, 20]),
    st.integers(0, 3),
    st.floats(0, 1),
    st.none() | st.floats(0, 1),
    names,
    st.sampled_from(["last step", "mean, of three"]),
)


@given(st.lists(rows, unique_by=lambda r: (r.method, r.environment, r.step, r.seed, r.source, r.protocol)))
def test_a_mean_is_over_the_seeds_of_one_source_and_protocol(scores):
    groups = reference_groups(scores, [TASK], SUCCESS_METRIC)
    shown = {(g.method, g.environment, g.source, g.protocol, step): mean for g in groups for step, mean in g.curve}
    expected = {}
    for each in scores:
        if TASK.startswith(each.environment):
            key = (each.method, each.environment, each.source, each.protocol, each.step)
            expected.setdefault(key, []).append(each.score)
    assert shown.keys() == expected.keys()
    assert all(np.isclose(shown[key], np.mean(values)) for key, values in expected.items())
    assert all([step for step, _ in g.curve] == sorted(step for step, _ in g.curve) for g in groups)


def test_a_file_is_read_as_it_is_written(tmp_path):
    path = written(
        tmp_path / "scores.csv",
        [
            ("FQL", TASK, 10, "", 0.5, 0.01, "a paper", "8 seeds, mean"),
            ("FQL", TASK, 10, 3, 0.25, "", "a log", "one seed"),
        ],
    )
    assert read_reference_scores(path) == (
        ReferenceScore("FQL", TASK, 10, None, 0.5, 0.01, "a paper", "8 seeds, mean"),
        ReferenceScore("FQL", TASK, 10, 3, 0.25, None, "a log", "one seed"),
    )


@pytest.mark.parametrize(
    ("row", "match"),
    [
        (("FQL", TASK, "1e6", "", 0.5, "", "a", "b"), "`step` in line 2"),
        (("FQL", TASK, 10, "", "97 %", "", "a", "b"), "`score` in line 2"),
        (("FQL", TASK, 10, "", "nan", "", "a", "b"), "`score` in line 2"),
        (("FQL", TASK, 10, "", 0.5, "", "a", ""), "`protocol` in line 2"),
        (("FQL", "", 10, "", 0.5, "", "a", "b"), "`environment` in line 2"),
    ],
)
def test_a_cell_that_says_nothing_is_refused_with_its_line(tmp_path, row, match):
    with pytest.raises(ValueError, match=match):
        read_reference_scores(written(tmp_path / "scores.csv", [row]))


def test_other_columns_are_refused(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("method,score\nFQL,0.5\n")
    with pytest.raises(ValueError, match="must have the columns method, environment"):
        read_reference_scores(path)


def test_per_cent_is_refused_for_a_success_rate_only():
    with pytest.raises(ValueError, match="Divide percentages by 100"):
        reference_groups([score(value=97.0)], [TASK], SUCCESS_METRIC)
    assert reference_groups([score(value=-97.0)], [TASK], RETURN_METRIC)[0].curve == [(10, -97)]


@pytest.mark.parametrize("seeds", [(1, 1), (None, None), (None, 1), (1, None)])
def test_a_seed_counts_once(seeds):
    with pytest.raises(ValueError, match="two reference scores of FQL"):
        reference_groups([score(seed=seed) for seed in seeds], [TASK], SUCCESS_METRIC)


def test_a_longer_name_is_another_environment():
    found = [score(environment=name) for name in ("cube-single", "cube-sing", f"{TASK}-x", OTHER)]
    assert [g.environment for g in reference_groups(found, [TASK], SUCCESS_METRIC)] == ["cube-single"]


def test_no_statistic_of_the_runs_reads_a_reference_score(tmp_path):
    write_run(tmp_path / "a", success={seed: [0.25, 0.1 * seed] for seed in range(5)})
    alone = compare_runs([tmp_path])
    beside = compare_runs([tmp_path], reference=[score(method="floq", value=1.0), score(seed=1, source="a log")])
    assert beside.rows == alone.rows
    text = comparison_text(beside)
    assert text.startswith(comparison_text(alone)) and "Reference scores (%)" in text and "8 seeds" in text
    (note,) = compare_runs([tmp_path], reference=[score(environment=OTHER)]).notes
    assert "none of the reference scores" in note


def test_a_figure_has_a_line_for_each_group_in_the_panels_that_it_concerns(tmp_path):
    write_run(tmp_path / "a", success={0: [0.25, 0.5]})
    write_run(tmp_path / "b", task=OTHER, success={0: [0.25, 0.5]})
    scores = [score(step=10), score(step=20, value=0.75), score(protocol="another")]
    from floqzoo.results.find_runs import open_runs

    gathered = gather(open_runs([tmp_path]), SUCCESS_METRIC)
    references = reference_groups(scores, gathered.tasks, SUCCESS_METRIC)
    panels = {
        axes.get_title().replace("\n", ""): axes for axes in draw(gathered, SUCCESS_METRIC, references=references).axes
    }
    grey = [line for line in panels[TASK.removesuffix("-v0")].get_lines() if "[" in line.get_label()]
    assert [list(zip(*line.get_data(), strict=True)) for line in grey] == [[(10, 50), (20, 75)], [(10, 50)]]
    assert len(panels[OTHER.removesuffix("-v0")].get_lines()) == 1
    notes = plot_runs([tmp_path], tmp_path / "curves.png", reference=scores)
    assert "[1] FQL" in notes[0] and "8 seeds" in notes[0] and "another" in notes[1]


def test_the_published_scores_concern_the_tasks_of_ogbench():
    scores = read_reference_scores(PUBLISHED_SCORES)
    assert len({(s.method, s.environment, s.step, s.source, s.protocol) for s in scores}) == len(scores)
    assert all(0 <= s.score <= 1 and s.seed is None for s in scores)
    floq = [g.curve for g in reference_groups(scores, [TASK], SUCCESS_METRIC) if g.method == "floq"]
    assert floq == [[(2_000_000, 0.98)]]


@pytest.mark.parametrize(("online_steps", "unit"), [(None, "updates"), (0, "updates"), (5, "steps")])
def test_a_figure_counts_updates_unless_a_run_has_online_steps(tmp_path, online_steps, unit):
    run = write_run(tmp_path / "run", success={0: [0.5, 0.6]})
    if online_steps is not None:
        flags = json.loads((run / "flags.json").read_text())
        (run / "flags.json").write_text(json.dumps(flags | {"online_steps": online_steps}))
    assert draw(gather([StoredRun(run)], SUCCESS_METRIC), SUCCESS_METRIC).axes[0].get_xlabel() == unit
