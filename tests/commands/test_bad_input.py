"""A user's mistakes: one clear sentence on standard error, exit status 2, no traceback, nothing left behind."""

import json
import shutil

import pytest


pytestmark = pytest.mark.slow


ALL = {
    "list": (),
    "plot": ("--out", "figure.png"),
    "compare": (),
    "evaluate": (),
    "inspect": ("--out", "inside"),
    "resume": (),
}
READING = ("list", "plot", "compare")
OPENING = ("evaluate", "inspect")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(run):
    """Runs a command that must be refused with a sentence that holds some words."""

    def refused(command, *words, says):
        status, out, err = run(command, *words, *ALL[command])
        assert status == 2, (out, err)
        assert "Traceback" not in err + out
        lines = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, err
        for part in says:
            assert part in lines[0]

    return refused


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the run, to be spoilt."""
    return shutil.copytree(trained, tmp_path / "copy")


def change(run, file, **values):
    content = json.loads((run / file).read_text())
    (run / file).write_text(json.dumps({k: v for k, v in (content | values).items() if v is not None}))


@pytest.mark.parametrize("command", ALL)
def test_a_wrong_path(refused, command):
    refused(command, "nowhere", says=["nowhere"])


@pytest.mark.parametrize("command", ALL)
def test_a_folder_that_is_no_run(refused, command, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(command, "empty", says=["empty", "flags.json"])


@pytest.mark.parametrize("command", ALL)
def test_a_file_where_a_folder_belongs(refused, command, tmp_path):
    (tmp_path / "file").write_text("not a run")
    refused(command, "file", says=["file"])


@pytest.mark.parametrize("command", [name for name in ALL if name != "list"])
def test_a_run_of_another_format(refused, command, copy):
    change(copy, "machine.json", floqzoo="0.0.1", format=9)
    refused(command, copy, says=["by floqzoo 0.0.1 in the run format 9"])


def test_list_shows_a_run_of_another_format_as_unreadable(run, copy):
    change(copy, "machine.json", floqzoo="0.0.1", format=9)
    status, out, _ = run("list", copy)
    assert status == 0
    assert "unreadable" in out and "0.0.1" in out


@pytest.mark.parametrize("command", OPENING)
def test_settings_of_another_version(refused, command, copy):
    flags = json.loads((copy / "flags.json").read_text())
    change(copy, "flags.json", agent=flags["agent"] | {"alfa": 1.0})
    refused(command, copy, says=["alfa"])


@pytest.mark.parametrize("command", [name for name in ALL if name != "list"])
def test_flags_that_are_no_json(refused, command, copy):
    (copy / "flags.json").write_text("{")
    refused(command, copy, says=["flags.json"])


@pytest.mark.parametrize("command", ["plot", "compare"])
def test_flags_without_what_is_asked_for(refused, command, copy):
    change(copy, "flags.json", agent=None)
    refused(command, copy, says=["flags.json", "`agent`"])


@pytest.mark.parametrize("command", OPENING)
def test_a_run_without_checkpoints(refused, command, copy):
    shutil.rmtree(copy / "checkpoints")
    refused(command, copy, says=["no checkpoint"])


@pytest.mark.parametrize("command", OPENING)
def test_a_damaged_checkpoint(refused, command, copy):
    step = copy / "checkpoints" / "step_000000004"
    file = next(path for path in sorted(step.rglob("*")) if path.is_file() and path.name != "manifest.json")
    file.write_bytes(file.read_bytes()[:-1])
    refused(command, copy, "--step=4", says=["step_000000004"])


@pytest.mark.parametrize("command", OPENING)
def test_a_seed_or_a_step_that_is_not_there(refused, command, trained):
    refused(command, trained, "--seed=7", says=["no seed 7", "0, 1"])
    refused(command, trained, "--step=3", says=["no checkpoint of step 3", "2, 4"])


@pytest.mark.parametrize("command", OPENING)
def test_a_recipe_that_is_not_there(refused, command, copy):
    change(copy, "flags.json", recipe="flok")
    refused(command, copy, says=["flok", "floq"])


@pytest.mark.parametrize("command", OPENING)
def test_an_environment_that_is_not_there(refused, command, copy):
    change(copy, "flags.json", env_name="pointmaze-mediun-navigate-singletask-task1-v0")
    refused(command, copy, says=["pointmaze-medium"])


@pytest.mark.parametrize("command", ["plot", "compare"])
def test_a_metric_that_is_not_there(refused, command, trained):
    refused(command, trained, "--metric=evaluation/sucess", says=["evaluation/success"])


@pytest.mark.parametrize("command", ["plot", "compare"])
def test_runs_of_different_success_timing(refused, command, trained, copy):
    change(copy, "flags.json", success_timing="post")
    refused(command, trained, copy, says=["'pre'", "'post'", "cannot be compared"])


@pytest.mark.parametrize("command", ["plot", "compare"])
def test_the_same_seed_in_two_runs(refused, command, trained, copy):
    refused(command, trained, copy, says=["seed 0", "two runs"])


@pytest.mark.parametrize("command", ["plot", "compare"])
def test_tables_that_are_no_tables(refused, command, copy):
    (copy / "eval.csv").write_text("a,b\n1,2\n")
    refused(command, copy, says=["eval.csv"])


def test_compare_names_updates_that_differ_and_those_that_are_not_there(refused, trained, copy):
    refused("compare", trained, "--step=5", says=["after 5 updates", "have one after 4"])
    change(copy, "flags.json", seed=2)
    text = (copy / "eval.csv").read_text().splitlines()
    rows = [row.replace("4,", "6,", 1) for row in text[1:]]
    (copy / "eval.csv").write_text(
        "\n".join([text[0], *(r.replace(",0,", ",2,", 1).replace("6,1,", "6,3,") for r in rows)]) + "\n"
    )
    refused("compare", trained, copy, says=["different updates"])


def test_files_of_the_wrong_kind(refused, run, trained):
    status, _, err = run("plot", trained, "--out=figure.gif")
    assert (status, err) == (2, "error: `out` must end in .png; got figure.gif.\n")
    refused("evaluate", trained, "--episodes=0", says=["`episodes`"])
    refused("inspect", trained, "--transitions=1", says=["`transitions`"])
    refused("compare", trained, "--confidence=1", says=["`confidence`"])


def test_data_that_are_gone_or_others(refused, copy, trained):
    change(copy, "data.json", path="nowhere.npz")
    refused("inspect", copy, says=["nowhere.npz", "dataset_path"])
    data = json.loads((trained / "data.json").read_text())
    change(copy, "data.json", path=data["path"], fingerprint="0" * 64)
    refused("inspect", copy, says=["different data", "000000000000"])


def test_inspect_needs_a_flow_critic(refused, copy):
    from dataclasses import asdict

    from recipes.bc import BCConfig

    change(copy, "flags.json", recipe="bc", agent=asdict(BCConfig()))
    refused("inspect", copy, says=["no flow critic", "NullCritic"])


def test_inspect_needs_a_critic_of_single_actions(refused, copy):
    flags = json.loads((copy / "flags.json").read_text())
    change(copy, "flags.json", agent=flags["agent"] | {"chunk_length": 2})
    refused("inspect", copy, says=["only a critic over single actions can be inspected", "chunks of 2 actions"])


@pytest.mark.parametrize("command", ALL)
def test_help_names_every_flag_and_says_what_it_is_for(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert len(out) > 500
    status, _, err = run(command, "--no_such_flag")
    assert status == 2
    assert "Traceback" not in err
