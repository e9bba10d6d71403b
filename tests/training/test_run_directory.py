import json
import re

import pytest
from toy_run import toy_config, toy_task

from floqzoo.runs.run_directory import (
    claim_directory,
    new_run_directory,
    record_data,
    record_flags,
    record_machine,
    record_resumption,
)


def test_an_existing_folder_is_not_claimed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "train.csv").write_text("precious")
    with pytest.raises(FileExistsError, match=r"run exists already, and a run is never overwritten"):
        claim_directory(tmp_path / "run")
    assert (tmp_path / "run" / "train.csv").read_text() == "precious"


def test_runs_of_one_second_get_folders_of_their_own(tmp_path):
    folders = [new_run_directory(str(tmp_path), "debug", "floq", seed=3) for _ in range(20)]
    assert len(set(folders)) == 20
    for folder in folders:
        assert folder.is_dir()
        assert re.fullmatch(r"floq_sd003_\d{8}_\d{6}(_\d+)?", folder.name)
        assert folder.parent == tmp_path / "floqzoo" / "debug"


def test_the_folder_of_several_seeds_says_which(tmp_path):
    assert new_run_directory(str(tmp_path), "debug", "floq", seed=0, seeds=8).name.startswith("floq_sd000-007_")


def test_a_resumption_keeps_what_was_before(tmp_path):
    record_machine(tmp_path)
    first = json.loads((tmp_path / "machine.json").read_text())
    for count in (1, 2):
        record_resumption(tmp_path)
        machine = json.loads((tmp_path / "machine.json").read_text())
        assert len(machine["earlier"]) == count
        assert machine["earlier"][0] == first
        assert machine["packages"] == first["packages"]


def test_the_flags_are_all_settings(tmp_path):
    record_flags(tmp_path, "toy", toy_config(seed=4))
    flags = json.loads((tmp_path / "flags.json").read_text())
    assert flags["recipe"] == "toy"
    assert flags["seed"] == 4
    assert flags["agent"] == {"batch_size": 8, "alpha": 10.0, "width": 8}


def test_the_data_are_described(tmp_path):
    task = toy_task()
    record_data(tmp_path, task)
    data = json.loads((tmp_path / "data.json").read_text())
    assert data["fingerprint"] == task.dataset.fingerprint()
    assert data["transitions"] == 190
    assert data["success_timing"] == "pre"


def test_the_machine_is_described(tmp_path):
    record_machine(tmp_path)
    machine = json.loads((tmp_path / "machine.json").read_text())
    assert machine["device_platform"] == "cpu"
    assert machine["packages"]["jax"]
    assert machine["cpu_count"] >= 1
