"""The compilation cache: where it is, what decides that, and that it changes nothing but the time of a start."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from floqzoo.learner import compilation_cache
from floqzoo.learner.compilation_cache import LEAST_SECONDS, machine_key, use_compilation_cache


OPTIONS = (
    "jax_enable_compilation_cache",
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
)


@pytest.fixture(autouse=True)
def caching(monkeypatch, tmp_path):
    """Caches are on, as they are for users, with a cache home of their own."""
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", raising=False)
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_it_is_in_the_users_cache_and_for_the_user_alone(tmp_path):
    folder = use_compilation_cache()
    assert folder == tmp_path / "home" / "floqzoo" / "compiled" / machine_key()
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert jax.config.jax_persistent_cache_min_compile_time_secs == LEAST_SECONDS
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_exists_is_used_again(tmp_path):
    for setting in ("auto", str(tmp_path / "flag")):
        jax.config.update("jax_compilation_cache_dir", None)
        folder = use_compilation_cache(setting)
        jax.config.update("jax_compilation_cache_dir", None)
        assert use_compilation_cache(setting) == folder is not None


def test_what_jax_was_told_stays(tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    assert use_compilation_cache() == tmp_path / "mine"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "mine")
    assert jax.config.jax_persistent_cache_min_compile_time_secs == before
    assert not (tmp_path / "home").exists()


def test_a_flag_wins_over_what_jax_was_told(tmp_path, monkeypatch):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "7")
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    assert use_compilation_cache(str(tmp_path / "flag")) == tmp_path / "flag"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "flag")
    assert jax.config.jax_persistent_cache_min_compile_time_secs == before


@pytest.mark.parametrize("by_jax", [False, True])
def test_it_can_be_turned_off(tmp_path, by_jax):
    jax.config.update("jax_enable_compilation_cache", not by_jax)
    assert use_compilation_cache("auto" if by_jax else "off") is None
    assert not jax.config.jax_enable_compilation_cache
    assert not (tmp_path / "home").exists()


def test_a_folder_that_cannot_be_written_to_is_a_warning(tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match=r"not cached, since .*/file/below is not writable .*disable the cache"):
        assert use_compilation_cache(str(tmp_path / "file" / "below")) is None
    assert jax.config.jax_compilation_cache_dir is None


def test_processors_of_other_instruction_sets_share_nothing(monkeypatch):
    ours = machine_key()
    assert machine_key() == ours
    monkeypatch.setattr(compilation_cache, "_instruction_sets", lambda: "flags : sse2")
    assert machine_key() != ours


ROOT = Path(__file__).parents[2]
RUN = [
    "--preset=quickstart",
    f"--task={ROOT / 'tests' / 'tasks' / 'own.py'}:push",
    "--offline_steps=8",
    "--log_interval=4",
]
SMALL = ["--eval_episodes=2", "--eval_workers=0", "--agent.batch_size=8", "--agent.actor_hidden_dims", "8"]


def start(tmp_path, name):
    """Starts FQL as a program, which has the cache that users have."""
    told = ("JAX_ENABLE_COMPILATION_CACHE", "JAX_COMPILATION_CACHE_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in told}
    environment |= {"PYTHONPATH": str(ROOT), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, str(ROOT / "recipes" / "fql.py"), *RUN, *SMALL, f"--save_dir={tmp_path / name}"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def said_by(process):
    """What it said on standard error, once it has ended well."""
    _, said = process.communicate()
    assert process.returncode == 0, said
    return said


def outcome(tmp_path, name):
    """The tables of a run, without times."""
    (flags,) = (tmp_path / name).glob("floqzoo/*/*/flags.json")
    tables = {}
    for table in ("train.csv", "eval.csv"):
        header, *rows = (line.split(",") for line in (flags.parent / table).read_text().splitlines())
        timed = {at for at, column in enumerate(header) if column.startswith("time/")}
        tables[table] = [[value for at, value in enumerate(row) if at not in timed] for row in (header, *rows)]
    return tables


@pytest.mark.slow
def test_a_start_reads_what_others_compiled_or_compiles_what_is_damaged_and_computes_the_same(tmp_path):
    """The first two start at the same time and share the folder, as runs of a sweep do; the last one reads nothing."""
    first = [start(tmp_path, name) for name in ("a", "b")]
    for process in first:
        said_by(process)
    (folder,) = (tmp_path / "home" / "floqzoo" / "compiled").iterdir()
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("*-cache")}
    assert any("jit" in name for name in kept)
    said_by(start(tmp_path, "c"))
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*-cache")} == kept
    for entry in folder.glob("*-cache"):
        entry.write_bytes(entry.read_bytes()[:100])
    assert "warning" in said_by(start(tmp_path, "d"))
    tables = [outcome(tmp_path, name) for name in "abcd"]
    assert tables[0] == tables[1] == tables[2] == tables[3]
