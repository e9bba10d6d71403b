"""What is compared with what, and what is refused."""

import numpy as np
import pytest
from written_runs import OTHER, TASK, write_run

from floqzoo.results import compare_runs, read_comparison
from floqzoo.results.compare import ALL_TASKS, IMPROVEMENT, IQM, MEAN
from floqzoo.results.compare_table import write_table


@pytest.fixture
def runs(tmp_path):
    """Two methods on two tasks; the last evaluation has floq ahead on one and level on the other."""
    write_run(tmp_path / "a", recipe="floq", success={seed: [0.0, 0.5 + 0.1 * seed] for seed in range(4)})
    write_run(tmp_path / "b", recipe="fql", success={seed: [0.9, 0.1 * seed] for seed in range(4)})
    write_run(tmp_path / "c", recipe="floq", task=OTHER, success={0: [0.1, 0.2], 1: [0.1, 0.4]})
    write_run(tmp_path / "d", recipe="fql", task=OTHER, success={0: [0.1, 0.4], 1: [0.1, 0.2]})
    return tmp_path


def value(comparison, statistic, task, method, over=""):
    (row,) = [r for r in comparison.of(statistic) if (r.task, r.method, r.over) == (task, method, over)]
    return row.value


def test_means_are_of_the_last_evaluation_by_task_and_method(runs):
    found = compare_runs([runs])
    assert value(found, MEAN, TASK, "floq") == pytest.approx(0.65)
    assert value(found, IQM, TASK, "fql") == pytest.approx(0.15)
    assert value(found, MEAN, OTHER, "fql") == pytest.approx(0.3)
    assert value(found, MEAN, ALL_TASKS, "floq") == pytest.approx((0.65 + 0.3) / 2)


@pytest.mark.parametrize("seeds", [1, 2, 4, 5, 6])
def test_few_seeds_are_noted_whichever_method_has_them(tmp_path, seeds):
    write_run(tmp_path / "a", recipe="floq", success={seed: [0.1 * seed] for seed in range(6)})
    write_run(tmp_path / "b", recipe="fql", success={seed: [0.1 * (seed + 2)] for seed in range(seeds)})
    notes = compare_runs([tmp_path], confidence=0.9).notes
    expected = "there is 1 seed" if seeds == 1 else f"there are {seeds} seeds"
    assert [note.startswith(expected) and "90 % intervals" in note for note in notes] == [True] * (seeds < 5)


@pytest.mark.parametrize("equal", [True, False])
def test_an_interval_without_width_is_noted(tmp_path, equal):
    write_run(tmp_path / "a", success={seed: [0.5 if equal else 0.1 * seed] for seed in range(5)})
    notes = compare_runs([tmp_path]).notes
    assert ["an interval without width" in note for note in notes] == [True] * equal


def test_improvement_is_within_tasks_and_then_averaged(runs):
    found = compare_runs([runs])
    assert value(found, IMPROVEMENT, TASK, "floq", "fql") == 1
    assert value(found, IMPROVEMENT, OTHER, "floq", "fql") == 0.5
    assert value(found, IMPROVEMENT, ALL_TASKS, "floq", "fql") == 0.75
    assert value(found, IMPROVEMENT, ALL_TASKS, "fql", "floq") == 0.25


def test_a_row_counts_the_seeds_of_its_method(tmp_path):
    counts = {(TASK, "floq"): 3, (TASK, "fql"): 2, (OTHER, "floq"): 1, (OTHER, "fql"): 4}
    for number, ((task, recipe), count) in enumerate(counts.items()):
        write_run(tmp_path / str(number), recipe=recipe, task=task, success={seed: [0.5] for seed in range(count)})
    rows = compare_runs([tmp_path]).rows
    totals = {(ALL_TASKS, method): sum(counts[task, method] for task in (TASK, OTHER)) for method in ("floq", "fql")}
    assert {row.over for row in rows} == {"", "floq", "fql"}
    assert all(row.seeds == (counts | totals)[row.task, row.method] for row in rows)


def test_another_step_may_be_asked_for(runs):
    assert value(compare_runs([runs], step=10), MEAN, TASK, "fql") == pytest.approx(0.9)
    with pytest.raises(ValueError, match=r"after 15 updates; all of them have one after 10, 20"):
        compare_runs([runs], step=15)


def test_what_is_written_reads_back_the_same(runs, tmp_path, capsys):
    found = compare_runs([runs])
    write_table(found, "csv", tmp_path / "new" / "table.csv")
    assert read_comparison(tmp_path / "new" / "table.csv") == found.rows
    with pytest.raises(ValueError, match="must have the columns"):
        read_comparison(runs / "a" / "eval.csv")


def test_text_and_markdown_say_the_same_numbers(runs, capsys):
    found = compare_runs([runs])
    for format in ("text", "markdown"):
        write_table(found, format)
        text = capsys.readouterr().out
        assert "65.0 [5" in text and "Probability of improvement" in text and ALL_TASKS in text
    assert "| " + TASK in text


def test_runs_of_one_method_are_its_seeds_wherever_they_lie(tmp_path):
    write_run(tmp_path / "a", success={0: [0.2]})
    write_run(tmp_path / "b", success={1: [0.4]})
    (row,) = compare_runs([tmp_path / "a", tmp_path / "b"]).of(MEAN)
    assert (row.seeds, row.value) == (2, pytest.approx(0.3))
    assert np.isfinite([row.low, row.high]).all()


def test_a_setting_that_differs_on_one_task_makes_two_methods_of_which_the_published_keeps_the_name(tmp_path):
    write_run(tmp_path / "a", agent={"alpha": 10.0, "tau": 0.1}, success={0: [0.2]})
    write_run(tmp_path / "b", agent={"alpha": 300.0, "tau": 0.1}, success={0: [0.4]})
    found = compare_runs([tmp_path])
    assert [row.method for row in found.of(MEAN)] == ["floq", "floq alpha=10.0"]


def test_a_setting_makes_two_methods_however_the_path_of_the_task_is_written(tmp_path):
    write_run(tmp_path / "a", task="cart.py:corridor", agent={"alpha": 0.03}, success={0: [0.2]})
    write_run(tmp_path / "b", task=f"{tmp_path}/cart.py:corridor", agent={"alpha": 1.0}, success={0: [0.4]})
    found = {(row.task, row.method): row.value for row in compare_runs([tmp_path]).of(MEAN)}
    assert found == {("cart.py:corridor", "floq alpha=0.03"): 0.2, ("cart.py:corridor", "floq alpha=1.0"): 0.4}


@pytest.mark.parametrize("earlier", [False, None])
def test_runs_with_and_without_normalised_observations_are_two_methods(tmp_path, earlier):
    write_run(tmp_path / "a", success={0: [0.2]}, normalised=earlier)
    write_run(tmp_path / "b", success={0: [0.4]}, normalised=True)
    found = {row.method: row.value for row in compare_runs([tmp_path]).of(MEAN)}
    assert found == {"floq": 0.2, "floq normalize_observations=True": 0.4}


def test_published_settings_of_two_tasks_are_one_method(tmp_path):
    write_run(tmp_path / "a", agent={"alpha": 10.0}, success={0: [0.2]})
    write_run(tmp_path / "b", agent={"alpha": 300.0}, task=OTHER, success={0: [0.4]})
    assert {row.method for row in compare_runs([tmp_path]).rows} == {"floq"}


def test_tasks_that_not_all_methods_have_are_left_out_of_all_tasks(tmp_path):
    write_run(tmp_path / "a", recipe="floq", success={0: [0.2]})
    write_run(tmp_path / "b", recipe="fql", success={0: [0.6]})
    write_run(tmp_path / "c", recipe="floq", task=OTHER, success={0: [0.8]})
    found = compare_runs([tmp_path])
    assert value(found, MEAN, ALL_TASKS, "floq") == pytest.approx(0.2)
    assert any("1 of 2 tasks" in note for note in found.notes)


def test_different_success_timing_is_refused(tmp_path):
    write_run(tmp_path / "a", timing="pre", success={0: [0.2]})
    write_run(tmp_path / "b", timing="post", recipe="fql", success={0: [0.4]})
    with pytest.raises(ValueError, match=r"is 'pre' in .*a and 'post' in .*b, so these runs cannot be compared"):
        compare_runs([tmp_path])


def test_different_last_steps_are_refused_and_a_common_one_is_named(tmp_path):
    write_run(tmp_path / "a", success={0: [0.2, 0.3]})
    write_run(tmp_path / "b", recipe="fql", success={0: [0.4]})
    with pytest.raises(
        ValueError, match=r"end at different updates \(floq at 20; fql at 10\).* at which all of them have a value: 10"
    ):
        compare_runs([tmp_path])
    assert len(compare_runs([tmp_path], step=10).of(MEAN)) == 2


@pytest.mark.parametrize("step", [None, 10])
def test_runs_without_a_common_step_cannot_be_compared(tmp_path, step):
    write_run(tmp_path / "a", success={0: [0.2]}, interval=15)
    write_run(tmp_path / "b", recipe="fql", success={0: [0.4]})
    with pytest.raises(ValueError, match="no step is common to all of them, so they cannot be compared"):
        compare_runs([tmp_path], step=step)


def test_the_same_seed_twice_is_refused(tmp_path):
    write_run(tmp_path / "a", success={0: [0.2]})
    write_run(tmp_path / "b", success={0: [0.4]})
    with pytest.raises(ValueError, match=r"seed 0 of floq on .* is in two runs"):
        compare_runs([tmp_path])


def test_other_data_are_marked(tmp_path):
    write_run(tmp_path / "a", fingerprint="1" * 64, success={0: [0.2]})
    write_run(tmp_path / "b", fingerprint="2" * 64, success={1: [0.4]})
    assert any("different data: fingerprints 11111111, 22222222" in note for note in compare_runs([tmp_path]).notes)


def test_a_run_without_an_evaluation_is_left_out_visibly(tmp_path):
    write_run(tmp_path / "a", success={0: [0.2]})
    write_run(tmp_path / "b", success={1: []})
    found = compare_runs([tmp_path])
    assert any("is left out" in note for note in found.notes)
    assert [row.seeds for row in found.of(MEAN)] == [1]


def test_a_misspelt_metric_is_answered_with_near_names(tmp_path):
    write_run(tmp_path / "a", success={0: [0.2]})
    with pytest.raises(ValueError, match="did you mean evaluation/success"):
        compare_runs([tmp_path], metric="evaluation/sucess")


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="contains no run"):
        compare_runs([tmp_path])
    with pytest.raises(FileNotFoundError, match="no folder"):
        compare_runs([tmp_path / "nowhere"])
