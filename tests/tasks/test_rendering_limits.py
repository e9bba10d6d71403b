"""The time limits of renderers, with a clock and environments that only pretend to render."""

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from floqzoo.tasks import manipulation, maze, recording, renderer, simulator
from floqzoo.tasks.scripts import find_script


SECONDS_PER_FRAME = renderer.LIMIT / 2.5  # the creation of an environment and a reset render two frames each


@dataclass
class Clock:
    """A clock that also stands for `faulthandler`: a frame must be rendered before the time that was set."""

    now: float = 0.0
    end: float | None = None
    frames: list[str] = field(default_factory=list)

    def dump_traceback_later(self, seconds, exit):
        assert exit
        self.end = self.now + seconds

    def cancel_dump_traceback_later(self):
        self.end = None

    def render(self, what, frames=1):
        for _ in range(frames):
            assert self.end is not None, f"no limit: {what}"
            self.now += SECONDS_PER_FRAME
            assert self.now < self.end, f"killed: {what}"
            self.frames.append(what)


class Rendered(gymnasium.Env):
    """An arm and a maze whose frames take long; every second step of the arm reaches its target."""

    action_space = gymnasium.spaces.Box(-1.0, 1.0, (5,), np.float32)
    observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    maze_map = np.pad(np.zeros((3, 3), int), 1, constant_values=1)

    def __init__(self, clock, steps):
        self.clock, self.steps = clock, steps
        self.model = SimpleNamespace(
            site_pos=np.zeros(3), vis=SimpleNamespace(quality=SimpleNamespace(shadowsize=4096))
        )
        self.custom_renderer = SimpleNamespace(close=lambda: None)
        self.initialize_renderer()

    def initialize_renderer(self):
        self.clock.render("creation")

    def reset(self, *, seed=None, options=None):
        self.taken = 0
        self.clock.render("reset", 2)
        return self._picture(), self._info()

    def step(self, action):
        self.taken += 1
        self.clock.render("step")
        return self._picture(), 0.0, False, self.taken == self.steps, self._info()

    def set_new_target(self, p_stack):
        self.clock.render("target")
        return self._picture(), self._info()

    def _picture(self):
        return np.zeros((64, 64, 3), np.uint8)

    def _info(self):
        zeros = np.zeros(20)
        return {"privileged/target_task": "cube", "success": False, "prev_qpos": zeros, "prev_qvel": zeros}


class Oracle:
    def reset(self, observation, info):
        self.asked = 0

    def select_action(self, observation, info):
        self.asked += 1
        return np.zeros(5)

    @property
    def done(self):
        return self.asked == 2


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()

    def make(environment, *, max_episode_steps=6, **settings):
        return Rendered(clock, max_episode_steps)

    modules = {
        "gymnasium": SimpleNamespace(make=make, Wrapper=gymnasium.Wrapper),
        "gymnasium.wrappers": gymnasium.wrappers,
    }
    monkeypatch.setattr(simulator, "ogbench_module", modules.__getitem__)
    monkeypatch.setattr(simulator, "require_renderer", lambda what: None)
    monkeypatch.setattr(manipulation, "require_renderer", lambda what: None)
    monkeypatch.setattr(manipulation, "_oracles", lambda environment, script: {"cube": Oracle()})
    monkeypatch.setattr(maze, "require_renderer", lambda what: None)
    monkeypatch.setattr(maze, "step_to_goal", lambda maze, random: np.zeros(5))
    monkeypatch.setattr(recording, "follow_parent", lambda: None)
    monkeypatch.setattr(recording, "_recorder", None)
    monkeypatch.setattr(renderer, "faulthandler", clock)
    monkeypatch.setattr(renderer, "multiprocessing", SimpleNamespace(parent_process=lambda: "a parent"))
    return clock


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("visual-cube-single-play-v0", {"creation": 1, "reset": 4, "step": 6, "target": 3}),
        ("visual-scene-play-v0", {"creation": 1, "reset": 6, "step": 12, "target": 6}),
        ("visual-pointmaze-medium-navigate-v0", {"creation": 2, "reset": 2, "step": 6}),
    ],
)
def test_each_frame_of_an_episode_has_a_limit_of_its_own(name, frames, clock, monkeypatch, tmp_path):
    """However long the episode is, and also if attempts are rejected: here the first of a scene."""
    verdicts = iter([False, True])
    monkeypatch.setattr(manipulation, "_cubes_stay_in_view", lambda episode: next(verdicts))
    recording._start_worker(replace(find_script(name), steps=6))
    recording._run_in_worker(recording.EpisodeJob(0, recording.TRAIN, 0, tmp_path / "episode.npz"))
    assert {what: clock.frames.count(what) for what in clock.frames} == frames
    assert clock.now > 2 * renderer.LIMIT
    assert clock.end is None


def test_each_frame_of_an_evaluation_has_a_limit_of_its_own(clock):
    environment = simulator.make_pixels("visual-pointmaze-medium-singletask-v0", 3)
    environment.reset(seed=0)
    for _ in range(6):
        environment.step(np.zeros(5, np.float32))
    assert clock.frames == ["creation"] * 2 + ["reset"] * 2 + ["step"] * 6
    assert clock.end is None


def test_egl_that_hangs_counts_as_not_working_and_osmesa_is_selected(monkeypatch):
    def run(command, *, env, timeout=None, **settings):
        if env["MUJOCO_GL"] == "egl":
            assert timeout == 60, "hangs"
            raise subprocess.TimeoutExpired(command, timeout)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(renderer, "can_render", renderer.can_render.__wrapped__)  # without its cache
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.delitem(sys.modules, "mujoco", raising=False)
    monkeypatch.delenv("MUJOCO_GL")
    assert renderer.select_renderer()
    assert os.environ["MUJOCO_GL"] == "osmesa"
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with pytest.raises(OSError, match="MUJOCO_GL=egl does not"):
        renderer.require_renderer("a video")
