"""A run with normalised observations, looked at by every command, against one whose data and environment are normalised."""

import dataclasses

import equinox as eqx
import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest

from floqzoo.networks.normaliser import Normaliser
from floqzoo.results import evaluate_run
from floqzoo.results.run_inspection import inspect_run
from floqzoo.runs import RunConfig
from floqzoo.studies.report import read_rows
from floqzoo.tasks import EpisodeArrays, GymnasiumTask, dataset_from_episodes
from floqzoo.training import prepared_run
from floqzoo.training.prepared_run import prepare
from recipes.floq import RECIPE


pytestmark = pytest.mark.slow

SIZES, OFFSETS = np.array([500.0, 0.01]), np.array([100.0, 2.0])


class Push(gymnasium.Env):
    """A push along a line, until the middle is passed; observations are in odd units."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = float(self.np_random.normal()), 0
        return self.seen(), {}

    def seen(self):
        return OFFSETS + SIZES * np.array([self.x, self.t / 4 - 1])

    def step(self, action):
        self.x, self.t = self.x + float(action[0]) - 0.2, self.t + 1
        return self.seen(), -abs(self.x), abs(self.x) < 0.1, self.t >= 8, {}


def record(seed: int) -> EpisodeArrays:
    environment, rng = Push(), np.random.default_rng(seed)
    observations, actions, rewards, over, terminated = [environment.reset(seed=seed)[0]], [], [], False, False
    while not over:
        actions.append(rng.uniform(-1, 1, 1))
        observation, reward, terminated, truncated, _ = environment.step(actions[-1])
        observations.append(observation)
        rewards.append(reward)
        over = terminated or truncated
    return EpisodeArrays(observations, actions, rewards, terminated)


DATASET = dataset_from_episodes((record(seed) for seed in range(12)), action_low=-1, action_high=1)
NORMALISER = Normaliser.from_observations(DATASET.observations)


def by_hand(observation):
    return (observation - np.asarray(NORMALISER.mean.value, float)) / np.asarray(NORMALISER.scale.value, float)


class Normalised(Push):
    def seen(self):
        return by_hand(super().seen())


RAW = GymnasiumTask(name="push", dataset=DATASET, environment=Push, max_episode_steps=8)
INNER = dataclasses.replace(
    RAW,
    dataset=eqx.tree_at(
        lambda data: data.observations,
        DATASET,
        jnp.asarray(by_hand(np.asarray(DATASET.observations, float)).astype(DATASET.observations.dtype)),
    ),
    environment=Normalised,
)


def trained(folder, task, normalised):
    agent = dataclasses.replace(
        RECIPE.presets["quickstart"](None).agent,
        batch_size=16,
        actor_hidden_dims=(8,),
        value_hidden_dims=(8,),
        block_width=8,
        num_bins=7,
    )
    config = RunConfig(
        agent=agent,
        env_name="own.py:push",
        normalize_observations=normalised,
        offline_steps=6,
        log_interval=3,
        eval_episodes=3,
        eval_workers=0,
    )
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared_run, "load_task", lambda config: task)
        prepare(RECIPE, config, folder).train()
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return trained(folder / "raw", RAW, True), trained(folder / "inner", INNER, False)


def test_evaluations_and_diagnostics_agree(runs):
    raw, inner = (evaluate_run(run, episodes=3, task=task)[0] for run, task in zip(runs, (RAW, INNER), strict=True))
    np.testing.assert_allclose(raw.evaluation.episode_return, inner.evaluation.episode_return, rtol=1e-3)
    assert raw.logged == raw.evaluation.mean_return


def test_inspections_agree(runs, tmp_path):
    rows = []
    for run, task, name in zip(runs, (RAW, INNER), ("raw", "inner"), strict=True):
        found, files = inspect_run(run, tmp_path / name, episodes=2, transitions=16, solver_steps=(1, 4), task=task)
        assert {file.stem for file in files} >= {"diagnostics", "value_paths", "q_by_steps", "inside"}
        steps = read_rows(tmp_path / name / "value_and_return.csv")
        rows.append((dataclasses.asdict(found), steps))
    (raw, raw_steps), (inner, inner_steps) = rows
    for name, value in raw.items():
        np.testing.assert_allclose(value, inner[name], rtol=1e-2, atol=1e-5, err_msg=name)
    assert len(raw_steps) == len(inner_steps)
    for ours, theirs in zip(raw_steps, inner_steps, strict=True):
        np.testing.assert_allclose(float(ours["q"]), float(theirs["q"]), rtol=1e-3, atol=1e-3)
