"""An agent with normalised observations is exported with its normaliser: every program takes observations as they are."""

import json
from dataclasses import asdict, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from in_runtimes import programs
from stored_arrays import arrays_of

import floqzoo as fz
from floqzoo.export import export_policy
from floqzoo.export.agent_files import agent_record
from floqzoo.export.policy_function import critic_function, policy_function
from floqzoo.networks.normaliser import Normaliser
from floqzoo.runs import find_recipe
from floqzoo.runs.recipe import agent_builder, with_normaliser


MEAN = np.array([1e4, -0.3, 5e-6], np.float32)
SCALE = np.array([3e5, 1.0, 2e-6], np.float32)
NORMALISER = Normaliser(MEAN, SCALE)
OBSERVATIONS = (MEAN + SCALE * np.random.default_rng(0).normal(size=(6, 3))).astype(np.float32)
INNER = ((OBSERVATIONS.astype(np.float64) - MEAN) / SCALE).astype(np.float32)
LOW, HIGH = np.array([-2.0, 0.0]), np.array([2.0, 30.0])


def settings(name):
    agent = find_recipe(name).presets["quickstart"](None).agent
    small = {"actor_hidden_dims": (8, 8), "value_hidden_dims": (8, 8), "num_samples": 3, "flow_steps": 2}
    return replace(agent, **{setting: value for setting, value in small.items() if hasattr(agent, setting)})


def built(name, normaliser):
    make = agent_builder(find_recipe(name), settings(name), observation_dim=3, action_dim=2, reward_range=(-1.0, 0.0))
    return with_normaliser(make, normaliser)(jax.random.key(0))


def flags(name, normalised):
    agent = json.loads(json.dumps(asdict(settings(name))))
    own = {"recipe": name, "env_name": "cube-single-play-singletask-task1-v0", "precision": "float32", "agent": agent}
    return own if normalised is None else own | {"normalize_observations": normalised}


DATA = {"observation_dim": 3, "action_dim": 2, "reward_range": [-1.0, 0.0], "fingerprint": "0"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rebrac", "ifql"])
def test_every_runtime_normalises_itself(name, tmp_path):
    """Parity of all runtimes is required by the export itself, at coordinates of very different sizes."""
    agent, plain = built(name, NORMALISER), built(name, None)
    exported = export_policy(
        agent,
        tmp_path / "out",
        observations=OBSERVATIONS,
        action_bounds=(LOW, HIGH),
        critic=True,
        facts={"agent": agent_record(flags(name, True), DATA)},
    )
    example = arrays_of(exported.folder / "example.npz")
    np.testing.assert_array_equal(example["observation"], OBSERVATIONS)
    noise = example["noise"] if "noise" in example else np.zeros((6, 0), np.float32)
    drawn = jax.vmap(lambda s, x: plain.policy.act_from_noise(s, plain.critic, x))(jnp.asarray(INNER), noise)
    np.testing.assert_allclose(example["action"], (LOW + HIGH) / 2 + np.asarray(drawn) * (HIGH - LOW) / 2, atol=1e-3)
    score = jax.vmap(plain.critic.score)(jnp.asarray(INNER), drawn)
    np.testing.assert_allclose(example["value"], score, rtol=1e-3, atol=1e-3)

    said = exported.spec["normalisation"]
    np.testing.assert_array_equal(np.float32(said["mean"]), MEAN)
    np.testing.assert_array_equal(np.float32(said["scale"]), SCALE)
    assert "normalises them itself" in (exported.folder / "README.md").read_text()

    again = fz.load_agent(exported.folder)
    for ours, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(agent.parts), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    x = jnp.asarray(OBSERVATIONS[0])
    np.testing.assert_array_equal(again.act(x, jax.random.key(1)), agent.act(x, jax.random.key(1)))


def test_the_programs_alone_take_raw_observations():
    """Without the checks of an export, which would refuse a difference."""
    agent, plain = built("rebrac", NORMALISER), built("rebrac", None)
    policy, units = policy_function(agent.parts, 3)
    critic = critic_function(agent.parts, 3, units)
    wanted = jax.vmap(lambda s: plain.policy.act_from_noise(s, plain.critic, jnp.zeros(0)))(jnp.asarray(INNER))
    scores = jax.vmap(plain.critic.score)(jnp.asarray(INNER), wanted)
    for run in programs(policy.function, policy.weights, policy.inputs):
        np.testing.assert_allclose(run(OBSERVATIONS), wanted, atol=1e-4)
    for run in programs(critic.function, critic.weights, critic.inputs):
        np.testing.assert_allclose(run(OBSERVATIONS, np.asarray(wanted)), scores, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("said", [False, None])
def test_an_agent_without_a_normaliser_has_none_in_its_files(said, tmp_path):
    """Nor has one of an earlier version, whose flags do not say."""
    plain = built("rebrac", None)
    facts = {"agent": agent_record(flags("rebrac", said), DATA)}
    exported = export_policy(plain, tmp_path / "out", observations=INNER, facts=facts)
    assert exported.spec["normalisation"] is None
    assert "normalises" not in (exported.folder / "README.md").read_text()
    assert fz.load_agent(exported.folder).normaliser is None
