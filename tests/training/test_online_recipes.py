"""Recipes act and learn at once: those whose batches or whose actors are made in a way of their own."""

import dataclasses

import numpy as np
import pytest
from toy_run import ToyTask, toy_config, toy_task

from floqzoo.runs import find_recipe, read_metrics
from floqzoo.runs.recipe import agent_builder
from floqzoo.tasks import Dataset
from floqzoo.training import train


pytestmark = pytest.mark.slow


SMALL = {
    "bc": {"actor_hidden_dims": (8,), "flow_steps": 2},
    "fql": {"actor_hidden_dims": (8,), "value_hidden_dims": (8,), "flow_steps": 2},
    "floq": {
        "actor_hidden_dims": (8,),
        "value_hidden_dims": (8,),
        "flow_steps": 2,
        "critic_flow_steps": 2,
        "noise_samples": 2,
        "block_width": 8,
        "block_depth": 1,
    },
    "ifql": {"actor_hidden_dims": (8,), "value_hidden_dims": (8,), "flow_steps": 2, "num_samples": 3},
    "qc": {"actor_hidden_dims": (8,), "value_hidden_dims": (8,), "flow_steps": 2, "num_samples": 3},
    "rebrac": {"actor_hidden_dims": (8,), "value_hidden_dims": (8,)},
    "sac": {"actor_hidden_dims": (8,), "value_hidden_dims": (8,)},
    "sorl": {"actor_hidden_dims": (8,), "value_hidden_dims": (8,)},
    "iqn": {"actor_hidden_dims": (8,), "value_hidden_dims": (8,), "flow_steps": 2, "num_samples": 3},
    "codac": {"actor_hidden_dims": (8,), "value_hidden_dims": (8,), "flow_steps": 2, "conservative_actions": 2},
    "value_flows": {"actor_hidden_dims": (8,), "value_hidden_dims": (8,), "flow_steps": 2, "num_samples": 3},
    "evor": {"actor_hidden_dims": (8,), "value_hidden_dims": (8,), "flow_steps": 2, "num_samples": 3},
    "td2_cfm": {"network": "mlp", "hidden_dims": (8,), "flow_steps": 2, "count": 2},
}
# Name, settings, and whether batches are balanced.
METHODS = [
    ("bc", {}, True),
    ("floq", {"n_step": 3}, True),
    ("fql", {"chunk_length": 3, "execution_horizon": 2}, True),
    ("ifql", {"n_step": 2}, True),
    ("qc", {"chunk_length": 2}, False),
    ("rebrac", {"n_step": 3}, True),
    ("sac", {"n_step": 2, "backup_entropy": True, "bc_alpha": 0.1}, False),
    ("sorl", {"n_step": 2, "num_samples": 2}, True),
    ("iqn", {"n_step": 2}, False),
    ("codac", {"chunk_length": 2}, True),
    ("value_flows", {"acting": "one-step", "chunk_length": 2}, True),
    ("evor", {"next_action": "behaviour"}, True),
    ("td2_cfm", {"measure_of": "clone"}, True),
    ("td2_cfm", {"method": "mc-cfm"}, True),
]


@dataclasses.dataclass(frozen=True)
class WholeTask(ToyTask):
    validation: Dataset | None = None


@pytest.mark.parametrize(("name", "changes", "balanced"), METHODS)
def test_a_recipe_learns_online(name, changes, balanced, tmp_path):
    recipe, data = find_recipe(name), toy_task().dataset
    preset = recipe.presets["default"](None).agent
    agent = dataclasses.replace(preset, batch_size=8, **SMALL[name] | changes)
    config = toy_config(
        agent=agent,
        offline_steps=0,
        online_steps=6,
        online_environments=2,
        log_interval=2,
        save_interval=0,
        eval_interval=0,
        eval_episodes=0,
        buffer_size=200,
        balanced_sampling=balanced,
    )
    task = WholeTask(data, validation=data)
    build = agent_builder(
        recipe,
        agent,
        observation_dim=2,
        action_dim=1,
        reward_range=(-1.0, 0.0),
        **recipe.from_data(task, toy_config(agent=agent)),
    )
    result = train(build, task, config, tmp_path, batch_source=recipe.batch_source)
    # The next action of a step is known one round later.
    rounds_without = (2 if name in ("td2_cfm", "rebrac") else 1) if balanced else 0
    assert (result.steps, result.updates) == (6, 6 - 2 * rounds_without)
    metrics = read_metrics(tmp_path / "train.csv")
    assert np.isfinite([column for name, column in metrics.items() if name.startswith("training/")]).all()
