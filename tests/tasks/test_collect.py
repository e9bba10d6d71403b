"""Collection: the same data however it is recorded, nothing lost, nothing mistaken for something else."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scripted import PAUSE, DyingScript, FailingScript, NoiseScript, ObservedScript, UnreachableScript

from floqzoo.tasks.collect import Collection, collect, collect_script
from floqzoo.tasks.files import sha256_of
from floqzoo.tasks.folder_lock import folder_locked
from floqzoo.tasks.scripts import SCRIPTS


pytestmark = pytest.mark.slow


def run(script, directory, *, episodes=6, seed=0, workers=1, progress=None):
    return collect_script(script, episodes=episodes, seed=seed, workers=workers, directory=directory, progress=progress)


def arrays(path):
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def everything_in(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_an_episode_depends_on_its_number_and_the_seed_alone(tmp_path):
    steps = NoiseScript().steps
    few, many, other = (
        run(NoiseScript(), tmp_path, episodes=episodes, seed=seed) for episodes, seed in ((3, 0), (40, 0), (3, 1))
    )
    for suffix, episodes in (("", 3), ("-val", 1)):
        of_few, of_many, of_other = (arrays(path.with_name(path.stem + suffix + ".npz")) for path in (few, many, other))
        for key in of_few:
            np.testing.assert_array_equal(of_few[key], of_many[key][: episodes * steps])
            assert key == "terminals" or not np.isclose(of_few[key], of_other[key]).any()


def test_no_episode_is_recorded_twice(tmp_path):
    path = run(NoiseScript(), tmp_path, episodes=20)
    train, validation = arrays(path), arrays(path.with_name(f"{path.stem}-val.npz"))
    assert len(train["terminals"]) == 20 * 5
    assert len(validation["terminals"]) == 2 * 5
    rows = np.concatenate([train["observations"], validation["observations"]])
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_a_finished_collection_is_returned_at_once(tmp_path):
    path = run(NoiseScript(), tmp_path)
    before = everything_in(tmp_path)
    assert run(UnreachableScript(), tmp_path) == path
    assert everything_in(tmp_path) == before


def test_the_record_beside_the_files_is_true(tmp_path):
    path = run(NoiseScript(), tmp_path, episodes=12, seed=3)
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["settings"]["episodes"] == 12
    assert record["settings"]["validation_episodes"] == 1
    assert record["settings"]["seed"] == 3
    assert record["settings"]["script"]["name"] == "noise-v0"
    assert set(record["versions"]) == {"ogbench", "mujoco", "numpy"}
    assert {name: entry["sha256"] for name, entry in record["files"].items()} == {
        file.name: sha256_of(file) for file in (path, path.with_name(f"{path.stem}-val.npz"))
    }
    assert sorted(file.name for file in tmp_path.iterdir() if file.name != "home") == sorted(
        [*record["files"], path.with_suffix(".json").name]
    )


def test_progress_counts_episodes_and_steps(tmp_path):
    calls = []
    run(NoiseScript(), tmp_path, episodes=3, progress=lambda *call: calls.append(call))
    assert calls == [(done, 4, done * 5) for done in range(5)]


@pytest.mark.parametrize("stop_after", [1, 4, 7])
def test_an_interrupted_collection_goes_on_where_it_stopped(tmp_path, stop_after):
    def stop(done, episodes, steps):
        if done == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(NoiseScript(), tmp_path / "a", progress=stop)
    assert not list((tmp_path / "a").glob("*.json"))
    calls = []
    run(NoiseScript(), tmp_path / "a", progress=lambda *call: calls.append(call))
    assert calls[0][0] == stop_after
    run(NoiseScript(), tmp_path / "b")
    assert everything_in(tmp_path / "a") == everything_in(tmp_path / "b")


KILLED = """
import sys
from pathlib import Path
from scripted import ObservedScript
from floqzoo.tasks.collect import collect_script

if __name__ == "__main__":
    script = ObservedScript(folder=sys.argv[2])
    collect_script(script, episodes=40, seed=0, workers=2, directory=Path(sys.argv[1]))
"""


def test_a_killed_collection_leaves_its_episodes_and_no_process(tmp_path):
    data, folder, main = tmp_path / "data", tmp_path / "processes", tmp_path / "main.py"
    folder.mkdir()
    main.write_text(KILLED)
    script = ObservedScript(folder=str(folder))
    collection = Collection(script, 40, 0, data)
    python_path = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    process = subprocess.Popen(
        [sys.executable, main, data, folder], env={**os.environ, "PYTHONPATH": python_path, PAUSE: "0.2"}
    )
    try:
        wait_until(lambda: len(list(collection.partial.glob("train-*.npz"))) >= 3)
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not any(is_alive(int(path.name)) for path in folder.iterdir()))
    kept = len(list(collection.partial.glob("train-*.npz")))
    assert 3 <= kept < 40

    calls = []
    run(script, data, episodes=40, progress=lambda *call: calls.append(call))
    assert calls[0][0] == kept
    assert everything_in(data) == everything_in(run(script, tmp_path / "whole", episodes=40).parent)


def interrupt():
    raise KeyboardInterrupt


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_alive(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_dead_worker_is_reported(tmp_path):
    with pytest.raises(RuntimeError, match="a worker process that recorded 'noise-v0' died"):
        run(DyingScript(), tmp_path, workers=2)


def test_an_error_of_the_script_is_passed_on(tmp_path):
    with pytest.raises(RuntimeError, match="lost its way"):
        run(FailingScript(), tmp_path)
    assert not list(tmp_path.glob("*.npz"))


def test_a_partial_folder_with_other_settings_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(NoiseScript(), tmp_path, progress=lambda done, *_: done == 2 and interrupt())
    with pytest.raises(
        ValueError, match=r"noise-v0-.*npz\.partial was made with different settings: .*steps is 5 there and 9"
    ):
        run(NoiseScript(steps=9), tmp_path)


def test_a_finished_file_with_other_settings_is_refused(tmp_path):
    path = run(NoiseScript(), tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"noise-v0-.*json was made with different settings"):
        run(NoiseScript(steps=9), tmp_path)
    assert path.read_bytes() == before


def test_a_file_of_unknown_origin_is_refused(tmp_path):
    path = Collection(NoiseScript(), 6, 0, tmp_path).train
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"its origin is unknown\. Move or remove it"):
        run(NoiseScript(), tmp_path)
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("suffix", ["", "-val"])
def test_a_finished_file_that_was_cut_is_refused(tmp_path, suffix):
    path = run(NoiseScript(), tmp_path)
    cut = path.with_name(f"{path.stem}{suffix}.npz")
    size = cut.stat().st_size
    cut.write_bytes(cut.read_bytes()[:-1])
    message = (
        rf"{cut.name} must have {size} bytes .*; it has {size - 1}\. Remove .*ep-seed0.npz, .*-val.npz and .*json,"
    )
    with pytest.raises(ValueError, match=message):
        run(NoiseScript(), tmp_path)
    cut.unlink()
    with pytest.raises(ValueError, match=f"{cut.name} must have .*; it is missing"):
        run(NoiseScript(), tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_spoilt_record_is_refused(tmp_path, content):
    path = run(NoiseScript(), tmp_path)
    path.with_suffix(".json").write_text(content)
    with pytest.raises(ValueError, match="JSON"):
        run(NoiseScript(), tmp_path)


def test_two_processes_do_not_collect_the_same(tmp_path):
    with (
        folder_locked(Collection(NoiseScript(), 6, 0, tmp_path).partial, "collecting into"),
        pytest.raises(BlockingIOError, match="another process is collecting"),
    ):
        run(NoiseScript(), tmp_path)
    run(NoiseScript(), tmp_path)


def test_nothing_is_written_among_the_official_files(tmp_path):
    home = tmp_path / "home"
    (home / ".ogbench").mkdir(parents=True)
    (tmp_path / "link").symlink_to(home / ".ogbench")
    for directory in ("~/.ogbench", "~/.ogbench/data", str(tmp_path / "link" / "data")):
        with pytest.raises(ValueError, match=r"must be outside of .* could be mistaken for official data; got"):
            collect("cube-single-play-v0", directory=directory)
    assert not list((home / ".ogbench").iterdir())


@pytest.mark.parametrize(("argument", "value"), [("episodes", 0), ("workers", 0), ("seed", -1)])
def test_numbers_out_of_range_are_refused(tmp_path, argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be at least .; got {value}"):
        collect("cube-single-play-v0", directory=tmp_path, **{argument: value})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cube-singel-play-v0", "cube-single-play-v0"),
        ("cube-single-play-singletask-v0", "cube-single-play-v0"),
        ("nonsense", "pointmaze-giant-stitch-v0"),
        ("visual-antmaze-medium-navigate-v0", "expert policies"),
        ("antmaze-medium-navigate-v0", "expert policies"),
        ("humanoidmaze-large-stitch-v0", "expert policies"),
        ("antsoccer-arena-navigate-v0", "expert policies"),
    ],
)
def test_names_that_no_script_has_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        collect(name)


def test_without_ogbench_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'floqzoo\[ogbench\]'"):
        collect("cube-single-play-v0", directory=tmp_path)


def test_every_dataset_of_the_published_commands_has_its_script():
    manipulation = ["cube-single", "cube-double", "cube-triple", "cube-quadruple", "scene"]
    manipulation += [f"puzzle-{board}" for board in ("3x3", "4x4", "4x5", "4x6")]
    mazes = [f"pointmaze-{maze}" for maze in ("medium", "large", "giant", "teleport")]
    names = {f"{stem}-{kind}-v0" for stem in manipulation for kind in ("play", "noisy")}
    names |= {f"{stem}-{kind}-v0" for stem in mazes for kind in ("navigate", "stitch")}
    names |= {f"visual-{name}" for name in names}
    names.add("cube-octuple-play-v0")
    assert {script.name for script in SCRIPTS} == names
    assert len(SCRIPTS) == len(names)


def test_the_published_datasets_have_as_many_transitions_as_ogbench_says():
    # Its dataset table, in millions: an episode of n steps holds n - 1 transitions.
    millions = {"cube-triple": 3, "cube-quadruple": 5, "puzzle-4x5": 3, "puzzle-4x6": 5}
    for script in SCRIPTS:
        expected = millions.get(script.environment.removeprefix("visual-").removesuffix("-v0"), 1)
        assert script.episodes * (script.steps - 1) == expected * 1_000_000


class TestWithOGBench:
    """A real, fast environment."""

    script = replace(next(script for script in SCRIPTS if script.name == "pointmaze-medium-navigate-v0"), steps=30)

    def test_the_files_do_not_depend_on_the_number_of_workers(self, tmp_path):
        pytest.importorskip("ogbench")
        for workers in (1, 2):
            run(self.script, tmp_path / str(workers), episodes=4, workers=workers)
        assert everything_in(tmp_path / "1") == everything_in(tmp_path / "2")

    def test_ogbench_reads_the_files(self, tmp_path):
        ogbench = pytest.importorskip("ogbench")
        path = run(self.script, tmp_path, episodes=20)
        _, train, validation = ogbench.make_env_and_datasets("pointmaze-medium-navigate-v0", dataset_path=str(path))
        assert train["observations"].shape == train["next_observations"].shape == (20 * 29, 2)
        assert validation["observations"].shape == (2 * 29, 2)
        assert train["terminals"].sum() == 20

    def test_the_default_place_is_not_ogbenchs(self, tmp_path):
        pytest.importorskip("ogbench")
        path = collect("pointmaze-medium-stitch-v0", episodes=1, seed=7)
        assert path == tmp_path / "home/.floqzoo/collected/pointmaze-medium-stitch-v0-collected-1ep-seed7.npz"
        assert len(arrays(path)["terminals"]) == 201
