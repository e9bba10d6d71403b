"""The console entry, run in this process as a program would."""

import subprocess
import sys
from pathlib import Path

import pytest

import floqzoo
from floqzoo import command_line


@pytest.fixture
def run(monkeypatch):
    def run(*words):
        monkeypatch.setattr("sys.argv", ["floqzoo", *words])
        try:
            command_line.main()
        except SystemExit as end:
            return end.code
        return 0

    return run


def test_version(run, capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"floqzoo {floqzoo.__version__}\n"


def test_help_leads_a_newcomer(run, capsys):
    assert run("--help") == 0
    assert "collect" in capsys.readouterr().out
    assert run("collect", "--help") == 0
    text = capsys.readouterr().out
    for part in ("NAME", "--episodes", "--seed", "--workers", "--directory"):
        assert part in text


def test_collect_passes_its_words_on(run, capsys, monkeypatch):
    asked = {}

    def collect_visibly(name, **settings):
        asked.update(settings, name=name)
        return Path("there.npz")

    monkeypatch.setattr(command_line, "collect_visibly", collect_visibly)
    words = ("--episodes=3", "--seed", "4", "--workers=2", "--directory", "here")
    assert run("collect", "cube-single-play-v0", *words) == 0
    assert asked == {"name": "cube-single-play-v0", "episodes": 3, "seed": 4, "workers": 2, "directory": "here"}
    assert "--dataset_path=there.npz" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "collect"),
        (("colect",), "colect"),
        (("collect",), "NAME"),
        (("collect", "cube-singel-play-v0"), "cube-single-play-v0"),
        (("collect", "cube-single-play-v0", "--episodes=0"), "`episodes` is 0; it must be at least 1"),
        (("collect", "cube-single-play-v0", "--seed=x"), "--seed"),
    ],
)
def test_a_users_mistake_is_status_2_without_a_traceback(run, capsys, words, message):
    assert run(*words) == 2
    text = capsys.readouterr().err
    assert message in text
    assert "Traceback" not in text


def test_ctrl_c_ends_with_130(run, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "collect_visibly", interrupted)
    assert run("collect", "cube-single-play-v0") == 130
    assert capsys.readouterr().err == "Interrupted.\n"


@pytest.mark.slow
@pytest.mark.parametrize("lines", [10, 10_000])
def test_a_reader_of_the_output_who_has_seen_enough_is_no_error(lines):
    """Gone before the first line, or during more output than a pipe holds."""
    program = f"""
from floqzoo.training.cli_errors import errors_explained
input()
with errors_explained():
    for _ in range({lines}):
        print("a trial of a sweep")
"""
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], text=True, **piped) as process:
        process.stdout.close()
        process.stdin.write("go on\n")
        process.stdin.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141
