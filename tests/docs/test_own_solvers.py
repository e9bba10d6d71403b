"""The solver that a page shows trains a critic: with diagnostics, through an interruption, up to its inspection."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.records import Trajectory
from floqzoo.results import inspect_run
from floqzoo.runs import Recipe, RunConfig, StoredRun
from floqzoo.tasks import GymnasiumTask, dataset_from_transitions
from floqzoo.training import prepared_run, resume
from floqzoo.training.prepared_run import prepare
from recipes import floq


pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"


def ralston():
    """The class of the page on solvers, as a reader copies it; that of the tutorial on parts is of the same kind."""
    page = (DOCS / "guides" / "swap-a-solver.md").read_text()
    found = {"jax": jax, "jnp": jnp, "Trajectory": Trajectory}
    exec(re.search(r"^class Ralston:\n(?:(?:    .*)?\n)+", page, re.MULTILINE)[0], found)
    return found["Ralston"](num_steps=2)


class Walk(gymnasium.Env):
    """Four steps along a line."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.normal(size=1).astype(np.float32)
        return self.x, {}

    def step(self, action):
        self.x = self.x + action.astype(np.float32)
        return self.x, -abs(float(self.x[0])), False, False, {}


def walk():
    random = np.random.default_rng(0)
    x, actions = random.normal(size=(40, 1)), random.uniform(-1, 1, (40, 1))
    data = dataset_from_transitions(
        observations=x,
        actions=actions,
        rewards=-abs(x + actions)[:, 0],
        next_observations=x + actions,
        terminated=np.zeros(40, bool),
        truncated=np.ones(40, bool),
        action_low=-1.0,
        action_high=1.0,
    )
    return GymnasiumTask(name="walk", dataset=data, environment=Walk, max_episode_steps=4)


def test_a_run_is_diagnosed_resumed_and_inspected(tmp_path, monkeypatch):
    monkeypatch.setattr(prepared_run, "load_task", lambda config: walk())
    solver = ralston()

    def build(**arguments):
        agent = floq.floq(**arguments)
        return fz.Agent(
            critic=replace(agent.critic, solver=solver),
            policy=agent.policy,
            update_rule=agent.update_rule,
            target_update=agent.target_update,
        )

    recipe = Recipe(name="own_floq", build=build, presets=floq.RECIPE.presets)
    sizes = {"batch_size": 8, "actor_hidden_dims": (8,), "value_hidden_dims": (8,), "block_width": 8, "num_bins": 7}
    config = RunConfig(
        agent=replace(recipe.presets["quickstart"](None).agent, **sizes),
        env_name="own.py:walk",
        offline_steps=4,
        log_interval=2,
        save_interval=2,
        eval_interval=2,
        eval_episodes=2,
        eval_workers=0,
    )
    prepare(recipe, config, tmp_path).train()
    run = StoredRun(tmp_path)
    logged = run.eval
    assert np.isfinite(logged["diagnostics/q"]).all() and np.isfinite(logged["diagnostics/effective_rank"]).all()
    assert "diagnostics/q_one_step" not in logged
    shutil.rmtree(run.checkpoints / "step_000000004")
    resume(tmp_path, recipe=recipe, task=walk())
    again = StoredRun(tmp_path).eval
    assert again.keys() == logged.keys()
    for column in (column for column in logged if not column.startswith("time/")):
        np.testing.assert_array_equal(again[column], logged[column])
    with pytest.warns(
        UserWarning, match="q_by_steps.png is left out, since the number of steps of .* cannot be changed"
    ):
        _, files = inspect_run(
            tmp_path, tmp_path / "inside", episodes=1, transitions=8, solver_steps=(1, 2), recipe=recipe, task=walk()
        )
    assert {"value_paths", "inside"} <= {file.stem for file in files} and not any(f.stem == "q_by_steps" for f in files)
