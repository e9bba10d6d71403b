"""Every command on a real run: what it prints and what it leaves."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floqzoo.export import load_exported_agent
from floqzoo.results import compare_runs, evaluate_run, list_runs, plot_runs, read_comparison
from floqzoo.results.video import PAUSE
from floqzoo.runs import StoredRun, find_recipe
from floqzoo.runs.metric_log import read_metrics
from floqzoo.runs.run_directory import run_locked
from floqzoo.studies.report import read_rows
from floqzoo.tasks.files import read_json
from floqzoo.tasks.renderer import can_render


pytestmark = pytest.mark.slow


PNG = b"\x89PNG"


def test_list_shows_the_run_and_how_it_ended(run, trained):
    status, out, _ = run("list", trained.parents[1])
    assert status == 0
    for part in ("floq", "pointmaze-medium-navigate-singletask-task1-v0", "0-1", "4 of 4", "finished"):
        assert part in out
    (summary,) = list_runs(trained)
    columns = read_metrics(trained / "eval.csv")
    assert (summary.metric, summary.score) == ("evaluation/success", columns["evaluation/success"].mean())
    assert (summary.state, summary.steps, summary.seeds) == ("finished", 4, (0, 1))


def test_evaluate_plays_the_episodes_of_the_run_again(run, trained):
    results = evaluate_run(trained)  # as many episodes as in the run
    assert [(result.seed, result.step) for result in results] == [(0, 4), (1, 4)]
    columns = read_metrics(trained / "eval.csv")
    for result in results:
        own = columns["seed"] == result.seed
        assert result.logged == result.evaluation.success_rate == columns["evaluation/success"][own]
        assert result.evaluation.episode_return == columns["evaluation/episode.return"][own]
    status, out, _ = run("evaluate", trained, "--seed=1")
    assert status == 0
    assert re.search(r"│ 1 +│ 1 +│ \d+ ± 0 % │ \d+ ± 0 % │", out)


def test_evaluate_reads_earlier_checkpoints_that_have_no_logged_rate(trained):
    (result,) = evaluate_run(trained, episodes=1, seed=0, step=2, episode_seed=9)
    assert result.step == 2
    assert np.isnan(result.logged)


def test_plot_draws_the_curves(run, trained, tmp_path):
    status, out, _ = run("plot", trained, "--out", tmp_path / "new" / "curves.png")
    assert status == 0
    assert "figure:" in out
    assert (tmp_path / "new" / "curves.png").read_bytes().startswith(PNG)
    assert plot_runs([trained.parent], tmp_path / "loss.png", metric="training/critic/critic_loss") == ()
    assert (tmp_path / "loss.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("format", ["text", "markdown", "csv"])
def test_compare_prints_and_writes_the_same(run, trained, tmp_path, format):
    status, out, _ = run("compare", trained, f"--format={format}")
    assert status == 0
    assert "floq" in out
    status, said, _ = run("compare", trained, f"--format={format}", "--out", tmp_path / "table")
    assert (status, (tmp_path / "table").read_text()) == (0, out)
    assert str(tmp_path / "table") in said
    if format == "csv":
        assert read_comparison(tmp_path / "table") == compare_runs([trained]).rows


def test_inspect_leaves_tables_and_figures(run, trained, tmp_path):
    settings = ("--episodes=1", "--transitions=16", "--seed=1")
    status, out, _ = run("inspect", trained, "--out", tmp_path / "inside", *settings)
    assert status == 0
    assert "variance of Q over noise" in out
    names = {"value_paths", "q_by_steps", "value_and_return", "inside", "value_map"}
    assert {path.stem for path in (tmp_path / "inside").glob("*.png")} == names
    assert all(path.read_bytes().startswith(PNG) for path in (tmp_path / "inside").glob("*.png"))
    (row,) = read_rows(tmp_path / "inside" / "diagnostics.csv")
    assert (row["seed"], row["step"]) == ("1", "4")
    assert float(row["q_noise_variance"]) >= 0
    assert 1 <= float(row["effective_rank"]) <= int(row["feature_width"]) == 8
    steps = read_rows(tmp_path / "inside" / "value_and_return.csv")
    assert len(steps) == int(read_metrics(trained / "eval.csv")["evaluation/episode.length"][1])


def test_export_writes_the_policy_and_plays_it(run, trained, tmp_path):
    for module in ("onnxruntime", "safetensors"):
        pytest.importorskip(module)
    out = tmp_path / "policy"
    status, said, _ = run("export", trained, "--out", out, "--episodes=1", "--seed=1", "--step=2")
    assert status == 0
    assert "ONNX Runtime" in said and str(out) in said
    spec = read_json(out / "spec.json")
    assert (spec["method"], spec["seed"], spec["step"]) == ("floq", 1, 2)
    assert spec["evaluation"]["onnx"] == spec["evaluation"]["jax"]
    assert spec["evaluation"]["metric"] == "success"
    stored = StoredRun(trained).agent(find_recipe("floq"), 1, 2)
    observation, key = jnp.array([0.5, -1.0]), jax.random.key(0)
    again = load_exported_agent(out)
    np.testing.assert_array_equal(again.act(observation, key), stored.act(observation, jax.random.clone(key)))
    status, _, said = run("export", trained, "--out", out)
    assert (status, said.count("\n")) == (2, 1)


def renderer():
    """One that works here, or None."""
    return next((name for name in ("egl", "osmesa") if can_render(name)), None)


FILM = """
from floqzoo.results import record_video, require_video
require_video()
from floqzoo.results.environment import environment_of
from floqzoo.results.run_evaluation import actor_of
from floqzoo.runs import StoredRun
run = StoredRun({run!r})
environment = environment_of(run, width=64, height=48, max_episode_steps=20)
print(record_video(actor_of(run, 0, 4), environment, {film!r}, episodes=2, seed=0))
"""


def test_episodes_are_filmed_without_a_screen(trained, tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    pytest.importorskip("mujoco")
    if renderer() is None:
        pytest.skip("no renderer works here: neither EGL nor OSMesa")
    film = tmp_path / "new" / "film.mp4"
    # In a program of its own, since MuJoCo chooses its renderer when it is imported.
    environment = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "DISPLAY")}
    code = FILM.format(run=str(trained), film=str(film))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{film}\n", "")
    pictures = decoded(film, imageio_ffmpeg.get_ffmpeg_exe(), (48, 64, 3))
    assert len(pictures) == 2 * (19 + PAUSE)
    assert pictures.std() > 1  # something is drawn
    assert (pictures[0] != pictures[18]).any()  # and it moves


def test_evaluate_asks_for_the_film_of_the_same_policy(run, trained, monkeypatch):
    asked = {}
    monkeypatch.setattr("floqzoo.results.renderer.require_video", lambda: None)
    monkeypatch.setattr("floqzoo.results.video.film_run", lambda *words, **settings: asked.update(settings) or words[1])
    words = ("--episodes=1", "--seed=1", "--step=2", "--video=film.mp4", "--video_episodes=4", "--episode_seed=5")
    status, out, _ = run("evaluate", trained, *words)
    assert (status, out.splitlines()[-1]) == (0, "video: film.mp4")
    assert asked == {"episodes": 4, "seed": 1, "step": 2, "episode_seed": 5, "recipe": None, "task": None}


def test_watch_asks_for_the_video_of_the_policy(run, trained, monkeypatch):
    asked = {}
    monkeypatch.setattr("floqzoo.results.renderer.require_video", lambda: None)
    monkeypatch.setattr("floqzoo.results.video.film_run", lambda *words, **settings: asked.update(settings) or words)
    words = ("--out=film.mp4", "--episodes=4", "--seed=1", "--step=2", "--episode_seed=5")
    status, out, _ = run("watch", trained, *words)
    assert (status, out) == (0, f"video: {(trained, Path('film.mp4'))}\n")
    assert asked == {"episodes": 4, "seed": 1, "step": 2, "episode_seed": 5, "recipe": None, "task": None}


def decoded(film, ffmpeg, shape):
    command = [ffmpeg, "-loglevel", "error", "-i", str(film), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, *shape)


def test_a_film_without_a_renderer_is_refused(run, trained, tmp_path, monkeypatch):
    pytest.importorskip("imageio_ffmpeg")
    monkeypatch.setenv("MUJOCO_GL", "disabled")
    status, _, err = run("evaluate", trained, "--episodes=1", "--video", tmp_path / "film.mp4")
    assert status == 2
    assert "libosmesa6" in err
    assert not (tmp_path / "film.mp4").exists()


def test_a_run_that_a_process_is_at_is_running(trained):
    with run_locked(trained):
        assert list_runs(trained)[0].state == "running"
    assert list_runs(trained)[0].state == "finished"


def test_an_interrupted_run_and_a_failed_one_are_told_apart(trained, tmp_path):
    for name in ("interrupted", "failed"):
        shutil.copytree(trained, tmp_path / name)
        lines = (tmp_path / name / "train.csv").read_text().splitlines()[:3]
        (tmp_path / name / "train.csv").write_text("\n".join(lines) + "\n")
        (tmp_path / name / "eval.csv").unlink()
        shutil.rmtree(tmp_path / name / "checkpoints")
    broken = (tmp_path / "failed" / "train.csv").read_text().splitlines()
    names, *rows = [line.split(",") for line in broken]
    rows[-1][names.index("training/critic/flow_loss")] = "nan"
    (tmp_path / "failed" / "train.csv").write_text("\n".join(map(",".join, [names, *rows])) + "\n")
    # No episode ended since the row before.
    explored = [[*names, "exploration/success"], *([*row, ""] for row in (rows[0], rows[0]))]
    (tmp_path / "interrupted" / "train.csv").write_text("\n".join(map(",".join, explored)) + "\n")
    assert {run.directory.name: run.state for run in list_runs(tmp_path)} == {
        "interrupted": "interrupted",
        "failed": "failed",
    }
