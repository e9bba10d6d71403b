"""An agent with a normaliser, on raw data, is the agent without one on data that were normalised by hand.

In float64, on the same draws: the data go through the batch source of the recipe, and their coordinates are of very
different sizes.
"""

from dataclasses import fields, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.networks.normaliser import Normaliser
from floqzoo.policies import FixedPolicy
from floqzoo.rollout.batched_policy import BatchedPolicy
from floqzoo.runs import find_recipe
from floqzoo.runs.recipe import agent_builder, with_normaliser
from floqzoo.studies.future_model import FutureModel
from floqzoo.tasks import make_dataset
from recipes import NAMES


SIZES = np.array([2000.0, 1.0, 0.001])
OFFSETS = np.array([1000.0, 0.0, -5.0])
SMALL = {
    "batch_size": 6,
    "lr": 1e-2,
    "tau": 0.1,
    "actor_hidden_dims": (6,),
    "value_hidden_dims": (6,),
    "hidden_dims": (6,),
    "network": "mlp",
    "block_width": 6,
    "block_depth": 1,
    "flow_steps": 2,
    "critic_flow_steps": 2,
    "noise_samples": 2,
    "num_samples": 3,
    "conservative_actions": 2,
    "latent_dim": 4,
    "pretraining_steps": 1,  # of the two updates
    "intention_encoder_hidden_dims": (6,),
    "reward_hidden_dims": (6,),
    "num_flow_steps": 2,
    "count": 4,
}
QUICK = ("bc", "iql")
LIKE_OTHERS = ("c51", "codac", "gaussian_bc", "ifql", "iqn")  # in where their losses have observations from
CASES = [
    *((name, {}) for name in NAMES if name not in LIKE_OTHERS),
    ("floq", {"n_step": 3}),
    ("fql", {"chunk_length": 3, "execution_horizon": 2}),
    ("td2_cfm", {"method": "mc-cfm"}),
    ("td2_cfm", {"measure_of": "clone"}),
]


def raw_dataset():
    random = np.random.default_rng(0)
    return make_dataset(
        observations=OFFSETS + SIZES * random.normal(size=(60, 3)),
        actions=random.uniform(-1, 1, (60, 2)),
        rewards=random.uniform(-1, 0, 60),
        masks=np.where(np.arange(60) % 7 == 3, 0.0, 1.0),
        terminals=np.arange(60) % 15 == 14,
    )


def normalised_by_hand(dataset):
    x = np.asarray(dataset.observations)
    return eqx.tree_at(lambda data: data.observations, dataset, jnp.asarray((x - x.mean(axis=0)) / x.std(axis=0)))


def run_config(name, changes):
    recipe = find_recipe(name)
    config = recipe.presets["default"](None)
    known = {field.name for field in fields(config.agent)}
    small = {setting: value for setting, value in SMALL.items() if setting in known}
    return recipe, replace(config, agent=replace(config.agent, **small | changes))


def builder(recipe, config, dim=3):
    return agent_builder(recipe, config.agent, observation_dim=dim, action_dim=2, reward_range=(-1.0, 0.0))


def in_doubles(agent):
    """The default settings of some parts are made when their modules are imported, in float32."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, np.float64) if eqx.is_inexact_array_like(leaf) else leaf, agent)


@eqx.filter_jit
def update(agent, source, dataset, size, batch_key, update_key):
    return agent.update(source.draw_batch(dataset, None, jnp.asarray(0), batch_key, size), update_key)


def trained(agent, source, dataset, size, updates=2):
    metrics = None
    for number in range(updates):
        agent, metrics = update(agent, source, dataset, size, jax.random.key(number), jax.random.key(100 + number))
    return agent, metrics


@eqx.filter_jit
def drawn(act, observations):
    return jax.vmap(act)(observations, jax.random.split(jax.random.key(1), len(observations)))


def close(found, wanted, tolerance=1e-7):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance / 10)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param(
            *case,
            marks=() if case[0] in QUICK else pytest.mark.slow,
            id="-".join([case[0], *(f"{name}={value}" for name, value in case[1].items())]),
        )
        for case in CASES
    ],
)
def test_raw_data_with_a_normaliser_are_data_normalised_by_hand(name, changes):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        recipe, config = run_config(name, changes)
        dataset, build = raw_dataset(), builder(recipe, config)
        by_hand, source = normalised_by_hand(dataset), recipe.batch_source(config, False)
        normaliser = Normaliser.from_observations(dataset.observations)
        agent = in_doubles(with_normaliser(build, normaliser)(jax.random.key(5)))
        # Without numbers in the quick cases; else with ones that change nothing, for which one program is compiled.
        same = jax.tree.map(jnp.asarray, Normaliser(np.zeros(3), np.ones(3)))
        plain = eqx.tree_at(lambda agent: agent.normaliser, agent, same)
        if name in QUICK:
            plain = in_doubles(build(jax.random.key(5)))
        agent, metrics = trained(agent, source, dataset, config.agent.batch_size)
        plain, wanted = trained(plain, source, by_hand, config.agent.batch_size)
        for part in ("critic", "policy", "target", "optimisers"):
            close(eqx.filter(getattr(agent, part), eqx.is_array), eqx.filter(getattr(plain, part), eqx.is_array))
        close(metrics, wanted)
        for one, other in zip(jax.tree.leaves(agent.normaliser), jax.tree.leaves(normaliser), strict=True):
            np.testing.assert_array_equal(one, other)

        raw, known = dataset.observations[:16], by_hand.observations[:16]
        close(jax.vmap(agent.normalised)(raw), known)
        for acts in ("act", "explore"):
            wanted = drawn(getattr(plain, acts), known)
            assert np.any(np.abs(wanted) < 1)  # Clipped actions do not show what was observed.
            close(drawn(getattr(agent, acts), raw), wanted)


@pytest.mark.parametrize("name", ["floq", "iql"])
def test_whatever_acts_for_an_agent_normalises(name):
    """Its parts, the policy of evaluations and the one that a measure is of."""
    recipe, config = run_config(name, {})
    normaliser = Normaliser(np.array([3.0, -1.0, 0.0]), np.array([10.0, 0.1, 1.0]))
    build = builder(recipe, config)
    agent, plain = with_normaliser(build, normaliser)(jax.random.key(5)), build(jax.random.key(5))
    known = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    raw = np.asarray(jax.vmap(normaliser.restore)(known))
    wanted = drawn(plain.act, known)
    assert np.any(np.abs(wanted) < 1)  # Clipped actions do not show what was observed.
    fixed = FixedPolicy(agent.policy, agent.critic, agent.normaliser)
    for act in (agent.act, agent.parts.act, lambda x, key: fixed.act(x, None, key)):
        close(drawn(act, raw), wanted, 1e-4)
    places = np.arange(16)
    found, wanted = (
        BatchedPolicy(each, 3).actions(x, places, 0 * places) for each, x in ((agent, raw), (plain, known))
    )
    close(found, wanted, 1e-4)


@pytest.mark.slow
def test_a_measure_is_read_in_the_units_of_the_environment(getkey):
    """Its samples and rewards, as of futures of normalised observations."""
    recipe, config = run_config("td2_cfm", {})
    normaliser = Normaliser(np.array([3.0, -1.0]), np.array([10.0, 0.1]))
    critic = builder(recipe, config, dim=2)(getkey()).critic
    inner = eqx.tree_at(
        lambda critic: critic.measure.normaliser, critic, Normaliser(np.array([0.5, 0.1]), np.array([2.0, 0.7]))
    )
    state, action, key = jnp.array([7.0, -0.95]), jnp.array([0.2, -0.4]), getkey()
    model = FutureModel(inner, normaliser, np.zeros((1, 2)))
    futures = inner.measure.sample_futures(normaliser.normalise(state), action, 5, key)
    found = model.sample(state, action, 5, jax.random.clone(key))
    np.testing.assert_allclose(found, jax.vmap(normaliser.restore)(futures), rtol=1e-4, atol=1e-4)
    rewards = jax.vmap(inner.reward.reward_of)(futures)
    np.testing.assert_allclose(jax.vmap(model.reward)(found), rewards, rtol=1e-3, atol=1e-3)
    plain = FutureModel(inner, None, np.zeros((1, 2))).sample(
        normaliser.normalise(state), action, 5, jax.random.clone(key)
    )
    np.testing.assert_allclose(plain, futures, rtol=1e-5, atol=1e-5)


def test_no_gradient_reaches_the_numbers_of_an_agent():
    recipe, config = run_config("rebrac", {})
    normaliser = Normaliser(np.array([3.0, -1.0, 0.0]), np.array([10.0, 0.1, 1.0]))
    agent = with_normaliser(builder(recipe, config), normaliser)(jax.random.key(0))
    assert not jax.tree.leaves(fz.partition_trainable(agent)[0].normaliser)
    agent = eqx.tree_at(lambda agent: agent.normaliser, agent, jax.tree.map(jnp.asarray, normaliser))

    def action(agent):
        # Several, since the slope of a clipped action is 0.
        act = jax.vmap(agent.act, (None, 0))
        return jnp.sum(act(jnp.array([1.0, 2.0, 3.0]), jax.random.split(jax.random.key(1), 16)))

    slopes = eqx.filter_grad(action)(agent)
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(slopes.policy))
    assert len(jax.tree.leaves(slopes.normaliser)) == 2
    for leaf in jax.tree.leaves(slopes.normaliser):
        np.testing.assert_array_equal(leaf, 0)
