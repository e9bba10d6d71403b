"""Atomic writing of files."""

import os
import subprocess
import sys

import pytest

from floqzoo.runs.run_directory import run_locked
from floqzoo.tasks.files import read_json, remove_leftovers, replacing, write_json


def test_a_file_is_replaced_when_all_went_well(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_file_is_left_alone_when_not(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_comes_back(tmp_path):
    content = {"a": [1, 2.5, None], "b": {"c": "d"}}
    write_json(tmp_path / "file", content)
    assert read_json(tmp_path / "file") == content


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    """A temporary file that is being written is younger."""
    program = "import os, pathlib; from floqzoo.tasks.files import replacing\n"
    program += "with replacing(pathlib.Path('curve.png')) as path: path.write_text('half'); os.kill(os.getpid(), 9)"
    killed = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=os.environ | {"PYTHONPATH": ":".join(sys.path)}
    )
    assert killed.returncode == -9
    (left,) = tmp_path.iterdir()
    for name in (".lock", ".notes.tmp", "curve.1.tmp"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    remove_leftovers(tmp_path)
    assert left.exists()
    os.utime(left, (0, 0))
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", ".notes.tmp", "curve.1.tmp"}


def test_a_leftover_that_is_young_when_a_run_resumes_is_removed_at_its_end(tmp_path):
    left = tmp_path / ".train.csv.1.tmp"
    left.touch()
    with run_locked(tmp_path):
        assert left.exists()
        os.utime(left, (0, 0))
    assert not left.exists()
