"""The agent of every recipe is exported, or refused in one sentence, and what is exported is the agent."""

from dataclasses import asdict, fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stored_arrays import arrays_of

import floqzoo as fz
from floqzoo.export import NotExportableError, export_policy
from floqzoo.protocols import ActsInChunks
from floqzoo.runs import find_recipe
from recipes import NAMES


pytestmark = pytest.mark.slow

OBSERVATION, ACTION = 3, 2
SMALL = {
    "actor_hidden_dims": (8, 8),
    "value_hidden_dims": (8, 8),
    "block_width": 8,
    "num_samples": 3,
    "flow_steps": 2,
    "critic_flow_steps": 3,
    "hidden_dims": (8, 8),
    "count": 4,
}
LOW, HIGH = np.array([-2.0, 0.0]), np.array([2.0, 30.0])
CASES = {
    **{name: (name, {}) for name in NAMES if name != "qc"},
    "qc": ("qc", {"chunk_length": 3, "execution_horizon": 2}),
    "fql, in chunks": ("fql", {"chunk_length": 2}),
    "value_flows, one step": ("value_flows", {"acting": "one-step"}),
}


def settings(recipe, changes):
    presets = find_recipe(recipe).presets
    agent = presets.get("quickstart", presets["default"])(None).agent
    known = {field.name for field in fields(agent)}
    return replace(agent, **{name: value for name, value in SMALL.items() if name in known}, **changes)


def built(recipe, agent):
    return find_recipe(recipe).build(
        observation_dim=OBSERVATION, action_dim=ACTION, reward_range=(-1.0, 0.0), config=agent, key=jax.random.key(0)
    )


@pytest.mark.parametrize("case", CASES)
def test_the_agent_of_a_recipe_is_exported(case, tmp_path):
    recipe, changes = CASES[case]
    config = settings(recipe, changes)
    agent = built(recipe, config)
    learns = not isinstance(agent.critic, fz.NullCritic)
    facts = {
        "agent": {
            "recipe": recipe,
            "env_name": "cube-single-play-singletask-task1-v0",
            "precision": "float32",
            "agent": {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(config).items()},
            "observation_dim": OBSERVATION,
            "action_dim": ACTION,
            "reward_range": [-1.0, 0.0],
        }
    }
    observations = np.random.default_rng(0).normal(size=(4, OBSERVATION)).astype(np.float32)
    bounds = (LOW, HIGH)
    exported = export_policy(
        agent, tmp_path / "out", observations=observations, action_bounds=bounds, critic=learns, facts=facts
    )
    spec, chunked = exported.spec, isinstance(agent.policy, ActsInChunks)
    assert spec["chunk_length"] == (changes["chunk_length"] if chunked else None)
    assert spec["execution_horizon"] == (changes.get("execution_horizon", changes["chunk_length"]) if chunked else None)
    example = arrays_of(exported.folder / "example.npz")
    assert ["n", *example["action"].shape[1:]] == spec["outputs"][0]["shape"]
    # The policy's own action is within [-1, 1], of which the middle becomes that of the bounds.
    noise = example["noise"] if "noise" in example else np.zeros((len(observations), 0), np.float32)
    drawn = jax.vmap(lambda s, x: agent.policy.act_from_noise(s, agent.critic, x))(
        jnp.asarray(observations), jnp.asarray(noise)
    )
    drawn = np.asarray(drawn).reshape(example["action"].shape)
    np.testing.assert_allclose(example["action"], (LOW + HIGH) / 2 + drawn * (HIGH - LOW) / 2, atol=2e-5)
    assert (example["action"] >= LOW).all() and (example["action"] <= HIGH).all()
    if learns:
        flat = jnp.asarray(drawn.reshape(len(observations), -1))
        score = jax.vmap(agent.critic.score)(jnp.asarray(observations), flat)
        np.testing.assert_allclose(example["value"], score, rtol=1e-4, atol=1e-4)
    again = fz.load_agent(exported.folder)
    key = jax.random.key(1)
    np.testing.assert_array_equal(
        again.act(jnp.asarray(observations[0]), key), agent.act(jnp.asarray(observations[0]), jax.random.clone(key))
    )


def test_imitation_has_no_critic_to_export(tmp_path):
    agent = built("bc", settings("bc", {}))
    with pytest.raises(NotExportableError, match="no trained critic"):
        export_policy(agent, tmp_path / "out", observations=np.zeros((2, OBSERVATION), np.float32), critic=True)


def test_a_policy_that_is_not_trained_any_more_is_refused_in_one_sentence(tmp_path):
    """As that of `td2_cfm` with `measure_of` trained: the run that trained it can be exported."""
    agent = built("bc", settings("bc", {}))
    fixed = fz.ActorCritic(agent.critic, fz.FixedPolicy(agent.policy))
    with pytest.raises(NotExportableError, match="FixedPolicy") as error:
        export_policy(fixed, tmp_path / "out", observations=np.zeros((2, OBSERVATION), np.float32))
    assert "\n" not in str(error.value)
