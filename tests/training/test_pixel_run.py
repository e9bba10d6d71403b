"""A run on pixels: trained, resumed, loaded and evaluated as any other, and what it cannot have is said in one sentence."""

import dataclasses
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_run import change_flags, toy_task

import floqzoo as fz
from floqzoo.export import export_run
from floqzoo.results import film_run, inspect_run
from floqzoo.results.environment import environment_of
from floqzoo.rollout import evaluate
from floqzoo.runs import RunConfig, StoredRun, find_recipe
from floqzoo.tasks import PixelDataset, make_dataset
from floqzoo.tasks.episodes import StepLog
from floqzoo.tasks.renderer import can_render
from floqzoo.tasks.simulator import limited, make_pixels
from floqzoo.training import prepared_run, resume
from floqzoo.training.prepared_run import prepare
from recipes.bc import BCConfig


FRAME = (64, 64, 3)


class Bright(gymnasium.Env):
    """The brightness of the picture is the number of steps, and the action is added to it."""

    observation_space = gymnasium.spaces.Box(0, 255, FRAME, np.uint8)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.light = 0, int(self.np_random.integers(50))
        return self._picture(), {}

    def step(self, action):
        self.t += 1
        self.light += 10 + round(float(action[0]))
        return self._picture(), -1.0, False, self.t >= 3, {"success": self.light > 60}

    def _picture(self):
        return np.full(FRAME, self.light, np.uint8)


def stacked(frame_stack):
    stack = gymnasium.wrappers.FrameStackObservation(Bright(), frame_stack, padding_type="reset")
    return limited(gymnasium.wrappers.FlattenObservation(stack))


@dataclasses.dataclass(frozen=True)
class BrightTask:
    dataset: PixelDataset
    action_dim: int = 1
    reward_range: tuple[float, float] = (-1.0, 0.0)

    @property
    def observation_dim(self):
        return self.dataset.observation_dim

    @property
    def make_environment(self):
        return partial(stacked, self.dataset.frame_stack)

    def describe(self):
        return {"env_name": "bright", "fingerprint": self.dataset.fingerprint(), "success_timing": "pre"}


def bright_task(frame_stack=2):
    states = 24
    light = np.random.default_rng(0).integers(0, 256, (states, 1), np.uint8)
    frames = make_dataset(
        observations=np.repeat(light, int(np.prod(FRAME)), axis=1),
        actions=(light / 128.0 - 1).astype(np.float32),
        rewards=-np.ones(states, np.float32),
        masks=np.ones(states, np.float32),
        terminals=np.arange(states) % 6 == 5,
    )
    return BrightTask(PixelDataset.of(frames, frame_stack))


SETTINGS = BCConfig(encoder="impala_small", batch_size=4, actor_hidden_dims=(8,), flow_steps=2)
RECIPE = find_recipe("bc")


def config_of(**changes):
    settings = {
        "agent": SETTINGS,
        "env_name": "visual-cube-single-play-singletask-task1-v0",
        "frame_stack": 2,
        "p_aug": 0.5,
        "offline_steps": 4,
        "log_interval": 2,
        "save_interval": 2,
        "eval_interval": 4,
        "eval_episodes": 2,
        "eval_workers": 0,
    }
    return RunConfig(**settings | changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    directory.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared_run, "load_task", lambda config: bright_task(config.frame_stack))
        result = prepare(RECIPE, config_of(), directory).train()
    return directory, result


def parameters(agent):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(agent.policy)]


def assert_same(one, other):
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_a_trained_agent_is_evaluated_stored_and_loaded(trained):
    directory, result = trained
    assert result.evaluations[0].length.tolist() == [3, 3]
    loaded = fz.load_agent(directory)
    assert_same(parameters(loaded), parameters(result.agent(0)))
    again = evaluate(loaded, bright_task().make_environment, episodes=2, seed=0)
    np.testing.assert_array_equal(again.success, result.evaluations[0].success)


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(trained, tmp_path, monkeypatch):
    _, result = trained
    monkeypatch.setattr(prepared_run, "load_task", lambda config: bright_task(config.frame_stack))
    half = tmp_path / "half"
    half.mkdir()
    prepare(RECIPE, config_of(offline_steps=2), half).train()
    change_flags(half, offline_steps=4)
    with pytest.warns(UserWarning, match="`offline_steps` was 2 and is 4"):
        resumed = resume(half, allow_changes=True)
    assert_same(parameters(resumed.agent(0)), parameters(result.agent(0)))


@pytest.mark.slow
def test_what_needs_states_says_so(trained, tmp_path):
    directory, _ = trained
    for what, call in (
        ("an export", lambda: export_run(directory, tmp_path / "export")),
        ("a video", lambda: film_run(directory, tmp_path / "video.mp4")),
        ("an inspection", lambda: inspect_run(directory, tmp_path / "inspection")),
    ):
        with pytest.raises(ValueError, match=f"^{what} needs a state-based run; .* was trained on pixels.$"):
            call()


@pytest.mark.slow
def test_a_stored_run_is_evaluated_on_as_many_frames(trained):
    made = environment_of(StoredRun(trained[0]))
    assert made.func is make_pixels
    assert made.args == ("visual-cube-single-singletask-task1-v0", 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agent": BCConfig()}, "has observations of pixels, which need an encoder; set --agent.encoder=impala_small"),
        ({"normalize_observations": True}, "`normalize_observations` must be False .* which has pixels; got True"),
        ({"online_steps": 4}, "`online_steps` must be 0 .* which has pixels; got 4"),
    ],
)
def test_settings_that_pixels_cannot_have_are_refused(tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr(prepared_run, "load_task", lambda config: bright_task(config.frame_stack))
    with pytest.raises(ValueError, match=message):
        prepare(RECIPE, config_of(**changes), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "`agent.encoder` must be None on .*, which has no pixels; got impala_small"),
        ({"agent": BCConfig()}, "`frame_stack` must be 1 on .*, which has no pixels; got 2"),
        ({"agent": BCConfig(), "frame_stack": 1}, "`p_aug` must be 0.0 on .*, which has no pixels; got 0.5"),
    ],
)
def test_settings_of_pixels_are_refused_without_pixels(tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr(prepared_run, "load_task", lambda config: toy_task())
    with pytest.raises(ValueError, match=message):
        prepare(RECIPE, config_of(**changes), tmp_path)


def test_an_environment_shows_the_stacks_that_the_dataset_has():
    """At the start and later, for the same frames."""
    environment, log = stacked(3), StepLog()
    found = [environment.reset(seed=1)[0]]
    frames = [found[0][-int(np.prod(FRAME)) :]]
    for _ in range(3):
        found.append(environment.step(np.zeros(1, np.float32))[0])
        frames.append(found[-1][-int(np.prod(FRAME)) :])
    for number, frame in enumerate(frames):
        log.add(frame, np.zeros(1), number == 3, {"prev_qpos": np.zeros(1), "prev_qvel": np.zeros(1)})
    arrays = log.arrays()
    assert arrays["observations"].dtype == np.uint8
    dataset = PixelDataset.of(
        make_dataset(
            observations=arrays["observations"],
            actions=arrays["actions"],
            rewards=np.zeros(4, np.float32),
            masks=np.ones(4, np.float32),
            terminals=arrays["terminals"],
        ),
        3,
    )
    np.testing.assert_array_equal(dataset.stacks(jnp.arange(4)), np.stack(found))
    assert all(observation.dtype == np.uint8 for observation in found)


HANGS = """
import multiprocessing, time
from floqzoo.tasks.renderer import rendering_limited

def hang():
    with rendering_limited(0.5):
        time.sleep(60)

if __name__ == "__main__":
    with rendering_limited(0.01):
        time.sleep(0.1)  # in the first process nothing ends
    process = multiprocessing.get_context("spawn").Process(target=hang)
    process.start()
    process.join(30)
    print("ended with", process.exitcode)
"""


@pytest.mark.slow
def test_a_process_whose_renderer_hangs_ends(tmp_path):
    script = tmp_path / "hangs.py"
    script.write_text(HANGS)
    paths = os.pathsep.join(path for path in sys.path if path)
    run = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert run.stdout == "ended with 1\n", run.stderr
    assert "Timeout" in run.stderr


TRAIN = """
from dataclasses import replace
from pathlib import Path
import sys
import numpy as np
from floqzoo.tasks import load
from floqzoo.tasks.collect import collect_script
from floqzoo.tasks.scripts import find_script

if __name__ == "__main__":
    script = replace(find_script("visual-pointmaze-medium-navigate-v0"), steps=12)
    path = collect_script(script, episodes=1, seed=0, workers=1, directory=Path(sys.argv[1]))
    task = load("visual-pointmaze-medium-navigate-singletask-task1-v0", dataset_path=path, frame_stack=3)
    environment = task.make_environment()
    observation, _ = environment.reset(seed=0)
    assert observation.dtype == np.uint8 and observation.shape == (task.observation_dim,) == (3 * 64 * 64 * 3,)
    assert task.dataset.frames.observations.shape == (12, 64 * 64 * 3), task.dataset.frames.observations.shape
    assert len(np.unique(np.asarray(task.dataset.frames.observations), axis=0)) == 12
    print(path)
"""


@pytest.mark.slow
def test_a_visual_task_is_collected_and_rendered(tmp_path):
    """In a separate process, since tests of this one draw nothing."""
    pytest.importorskip("ogbench")
    renderer = next((name for name in ("egl", "osmesa") if can_render(name)), None)
    if renderer is None:
        pytest.skip("no renderer")
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    environment = os.environ | {"MUJOCO_GL": renderer, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=300, env=environment
    )
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.strip()).exists()
