"""The console entry, run in this process as a program would."""

import os
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
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 40 and max(map(len, lines)) <= 80
    assert {*command_line.COMMANDS} == {line.split()[0] for line in lines if line[:2] == "  " and line[2] != " "}
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


def test_download_passes_its_words_on(run, capsys, monkeypatch):
    asked = {}

    def download_shards(name, directory, **settings):
        asked.update(settings, name=name, directory=directory)
        return Path("there")

    monkeypatch.setattr(command_line, "download_shards", download_shards)
    assert run("download", "scene-play-100m-v0", "--directory", "here", "--shards=3") == 0
    assert asked == {"name": "scene-play-100m-v0", "directory": "here", "shards": 3}
    assert "--dataset_path=there" in capsys.readouterr().out


def test_convert_writes_a_file_and_prints_what_it_holds(run, capsys, tmp_path):
    pytest.importorskip("gymnasium")
    (tmp_path / "mine.py").write_text("def full(observation, rng):\n    return [2.0]\n")
    out = tmp_path / "pendulum.npz"
    words = ("--episodes=2", "--seed", "3", "--policy", f"{tmp_path / 'mine.py'}:full", "--max_episode_steps=5")
    assert run("convert", "gymnasium", "Pendulum-v1", str(out), *words) == 0
    text = capsys.readouterr().out
    assert "10 transitions in 2 episodes: 0 terminations, 2 truncated episodes" in text
    assert f"dataset: {out}" in text
    assert (floqzoo.tasks.read_episodes(out).actions == 2).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gymnasium", "Pendulm-v1", "out.npz"), "error: Gymnasium cannot make 'Pendulm-v1'"),
        (("gymnasium", "Pendulum-v1", "out.hdf5"), "error: the file to write must have a name that ends with .npz"),
        (("gymnasium", "Pendulum-v1", "out.npz", "--policy=mine"), "error: `policy` must be FILE.py:NAME"),
        (("ogbench", "nowhere.npz", "out.npz"), "error: there is no file nowhere.npz"),
        (("d4rl", "nowhere.hdf5", "out.npz", "--action_low", "-2", "-2"), "error: there is no file nowhere.hdf5"),
        (("lerobot", "nowhere", "out.npz"), "nowhere/meta/info.json"),
        (("d4lr", "a", "b"), "d4lr"),
    ],
)
def test_a_conversion_that_cannot_be_is_status_2(run, capsys, tmp_path, monkeypatch, words, message):
    pytest.importorskip("gymnasium")
    monkeypatch.chdir(tmp_path)
    assert run("convert", *words) == 2
    text = capsys.readouterr().err
    assert message in text
    assert "Traceback" not in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format_", ["ogbench", "d4rl", "minari", "lerobot", "gymnasium"])
def test_each_format_has_a_help_that_names_its_files(run, capsys, format_):
    assert run("convert", format_, "--help") == 0
    text = capsys.readouterr().out
    assert "OUT.npz" in text
    assert "{True,False}" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "collect"),
        (("colect",), "colect"),
        (("collect",), "NAME"),
        (("collect", "cube-singel-play-v0"), "cube-single-play-v0"),
        (("collect", "cube-single-play-v0", "--episodes=0"), "`episodes` must be at least 1; got 0"),
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "handled"), [("SIGTERM", 143, "stoppable()"), ("SIGINT", 130, "nullcontext(int)")]
)
def test_a_signal_during_a_compilation_is_no_crash(number, status, handled):
    """A thread of XLA that compiles while Python exits ends the process with status 139."""
    program = f"""
import functools, os, signal, threading
from contextlib import nullcontext
import jax, jax.numpy as jnp
from floqzoo.training.cli_errors import errors_explained
from floqzoo.training.interruption import stoppable
jax.config.update("jax_enable_compilation_cache", False)  # a program that is read is not compiled
signal.signal(signal.SIGINT, signal.default_int_handler)
lowered = jax.jit(lambda x: functools.reduce(lambda x, n: jnp.sin(x @ x + n), range(400), x)).lower(jnp.eye(8))
with errors_explained(), {handled} as check:
    threading.Timer(0.2, os.kill, [os.getpid(), signal.{number}]).start()
    lowered.compile()
    check()
"""
    compiles_as_usual = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    ended = subprocess.run([sys.executable, "-c", program], env=compiles_as_usual, check=False)
    assert ended.returncode == status
