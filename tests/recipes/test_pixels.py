"""Every recipe that takes pixels learns from them: one encoder a network, once an observation, trained by the network's loss."""

import dataclasses
import math
from collections import Counter
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
import recipes.common
from floqzoo.runs import find_recipe
from recipes import NAMES


FRAME, FRAMES = (8, 8, 3), 2
BYTES, ACTIONS, BATCH = FRAMES * math.prod(FRAME), 2, 4
CHANNELS = (2,)
CONVOLUTIONS = 3 * len(CHANNELS)
SMALL = {
    "actor_hidden_dims": (8, 8),
    "value_hidden_dims": (8, 8),
    "block_width": 8,
    "block_depth": 1,
    "num_transformations": 1,
    "flow_steps": 3,
    "critic_flow_steps": 2,
    "noise_samples": 2,
    "num_samples": 5,
    "num_score_samples": 2,
}


def tiny_encoder(frames, *, frame, key):
    return fz.ImpalaEncoder(frames, frame=frame, channels=CHANNELS, features=6, key=key)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    """Recipes build encoders of small images."""
    monkeypatch.setattr(recipes.common.fz, "impala_small", tiny_encoder, raising=False)
    monkeypatch.setattr(recipes.common.fz, "PixelNetwork", partial(fz.PixelNetwork, frame=FRAME), raising=False)


def settings_of(recipe):
    """The default settings of a recipe, in small."""
    config = recipe.presets["default"]("cube-double-play-singletask-task1-v0").agent
    names = {field.name for field in dataclasses.fields(config)}
    small = {name: value for name, value in SMALL.items() if name in names}
    return dataclasses.replace(config, encoder="impala_small", **small)


def agent_of(name, **changes):
    recipe = find_recipe(name)
    settings = dataclasses.replace(settings_of(recipe), **changes)
    return recipe.build(
        observation_dim=BYTES, action_dim=ACTIONS, reward_range=(-1.0, 0.0), config=settings, key=jax.random.key(0)
    )


def batch_of(seed=0, actions=ACTIONS):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (2, BATCH, BYTES), np.uint8)
    return fz.Transition(
        observation=jnp.asarray(pixels[0]),
        action=jnp.asarray(random.uniform(-1, 1, (BATCH, actions)).astype(np.float32)),
        reward=jnp.full(BATCH, -1.0),
        discount=jnp.ones(BATCH),
        next_observation=jnp.asarray(pixels[1]),
        next_action=jnp.asarray(random.uniform(-1, 1, (BATCH, actions)).astype(np.float32)),
    )


def networks_in(tree):
    is_network = lambda node: isinstance(node, fz.networks.PixelNetwork)  # noqa: E731
    return [node for node in jax.tree.leaves(tree, is_leaf=is_network) if is_network(node)]


ENCODERS = {  # of the critic and of the policy, as in the papers: one for each network, and one for an ensemble
    "bc": (0, 1),
    "c51": (1, 1),
    "evor": (1, 1),
    "floq": (2, 2),
    "fql": (1, 2),
    "gaussian_bc": (0, 1),
    "ifql": (2, 1),
    "iql": (2, 1),
    "qc": (1, 1),
    "rebrac": (1, 1),
    "sac": (1, 1),
    "value_flows": (1, 1),
}


WITHOUT = {
    "sorl": "SORL",
    "iqn": "a quantile critic",
    "codac": "a quantile critic",
}  # and three that have no such setting


def test_every_method_takes_pixels_or_refuses_them():
    assert set(NAMES) == ENCODERS.keys() | WITHOUT.keys() | {"td2_cfm", "fb", "infom"}


@pytest.mark.parametrize("name", ENCODERS)
def test_each_network_has_an_encoder(name):
    agent = agent_of(name)
    assert (len(networks_in(agent.critic)), len(networks_in(agent.policy))) == ENCODERS[name]


SLOW = ("c51", "floq", "fql", "ifql", "rebrac", "value_flows")  # every critic and every policy


@pytest.mark.parametrize("name", ["bc", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_an_update_trains_every_encoder(name):
    agent = agent_of(name)
    width = agent.policy.act(batch_of().observation[0], agent.critic, jax.random.key(1)).size
    updated, update = agent, eqx.filter_jit(type(agent).update)
    for step in range(2):  # ReBRAC trains its policy in every second update
        updated, metrics = update(updated, batch_of(step, actions=width), jax.random.key(2 + step))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(metrics))
    for before, after in zip(networks_in(agent.parts), networks_in(updated.parts), strict=True):
        for old, new in zip(*(jax.tree.leaves(network.encoder) for network in (before, after)), strict=True):
            assert np.any(old != new)


def convolutions_of(function, *arguments):
    """How many images the convolutions of a program have, by the number of their steps."""
    counts = Counter()

    def visit(jaxpr, times):
        for equation in jaxpr.eqns:
            if equation.primitive.name == "conv_general_dilated":
                counts["images"] += times * equation.invars[0].aval.shape[0]
                counts["kernels"] += times
            for value in equation.params.values():
                for inner in value if isinstance(value, tuple | list) else [value]:
                    inner = getattr(inner, "jaxpr", inner)
                    if hasattr(inner, "eqns"):
                        visit(inner, times * equation.params.get("length", 1))

    visit(jax.make_jaxpr(function)(*arguments).jaxpr, 1)
    return counts


@pytest.mark.parametrize(
    ("name", "encoders"),
    [("bc", 1), ("fql", 1), ("rebrac", 1), ("iql", 1), ("ifql", 2), ("c51", 2), ("value_flows", 2)],
)
def test_an_observation_is_encoded_once_by_each_network_that_acts(name, encoders):
    """However many solver steps and candidate actions there are, and however many members an ensemble has."""
    agent = agent_of(name)
    counts = convolutions_of(agent.act, batch_of().observation[0], jax.random.key(0))
    assert counts == {"images": encoders * CONVOLUTIONS, "kernels": encoders * CONVOLUTIONS}


def test_a_flow_critic_encodes_once_for_all_noise_samples_steps_and_members():
    critic, batch = agent_of("floq", noise_samples=3, critic_flow_steps=4).critic, batch_of()
    noise = jax.random.uniform(jax.random.key(0), (BATCH, 3, 1))
    counts = convolutions_of(critic.batch_returns, batch, noise)
    assert counts == {"images": BATCH * CONVOLUTIONS, "kernels": CONVOLUTIONS}


def test_pixels_are_bytes_until_an_encoder_divides_them():
    """No array of floats has the size of a batch of images, other than the image of one encoder."""
    agent = agent_of("fql")
    jaxpr = jax.make_jaxpr(lambda batch, key: agent.policy.policy_loss(batch, agent.frozen, key)[0])(
        batch_of(), jax.random.key(0)
    )
    height, width, channels = FRAME
    allowed = {(BATCH, height, width, FRAMES * channels), (BATCH, 1, height, width, FRAMES * channels)}

    def visit(jaxpr):
        for equation in jaxpr.eqns:
            for variable in equation.outvars:
                aval = variable.aval
                whole = math.prod(aval.shape[1:]) >= BYTES and jnp.issubdtype(aval.dtype, jnp.floating)
                if whole and aval.shape[:1] == (BATCH,):
                    convolved = aval.shape[-1] in CHANNELS
                    assert aval.shape in allowed or convolved, f"{equation.primitive} makes {aval}"
            for value in equation.params.values():
                for inner in value if isinstance(value, tuple | list) else [value]:
                    inner = getattr(inner, "jaxpr", inner)
                    if hasattr(inner, "eqns"):
                        visit(inner)

    visit(jaxpr.jaxpr)


@pytest.mark.slow
def test_no_loss_trains_the_encoder_of_another_part():
    agent, batch = agent_of("fql"), batch_of()

    def critic_loss(critic, policy):
        inside = eqx.tree_at(lambda agent: (agent.critic, agent.policy), agent, (critic, policy))
        return critic.critic_loss(batch, inside.frozen, jax.random.key(0))[0]

    def policy_loss(policy, critic):
        inside = eqx.tree_at(lambda agent: (agent.critic, agent.policy), agent, (critic, policy))
        return policy.policy_loss(batch, inside.frozen, jax.random.key(0))[0]

    for loss, own, other in (
        (critic_loss, agent.critic, agent.policy),
        (policy_loss, agent.policy, agent.critic),
    ):
        gradient = eqx.filter_grad(lambda parts, loss=loss: loss(*parts))((own, other))
        mine, theirs = ([jnp.abs(leaf).max() for leaf in jax.tree.leaves(networks_in(part))] for part in gradient)
        assert min(mine) > 0
        assert max(theirs) == 0


@pytest.mark.slow
def test_the_target_has_an_encoder_of_its_own_that_follows_the_critics():
    agent = agent_of("fql", tau=0.25)
    updated, _ = eqx.filter_jit(type(agent).update)(agent, batch_of(), jax.random.key(1))
    before, after = (networks_in(each.critic)[0].encoder for each in (agent, updated))
    (target,) = networks_in(updated.target)
    for old, online, found in zip(
        *map(jax.tree.leaves, (agent.target.critic.networks.networks.members.encoder, before, target.encoder)),
        strict=True,
    ):
        np.testing.assert_allclose(found, 0.25 * online + 0.75 * old, rtol=1e-6, atol=1e-8)
    assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (after, target.encoder)), strict=True))


@pytest.mark.parametrize(("name", "words"), WITHOUT.items())
def test_methods_without_pixels_say_so(name, words):
    config = find_recipe(name).presets["default"]("cube-double-play-singletask-task1-v0").agent
    with pytest.raises(
        ValueError, match=f"`encoder` must be None for {words}, which takes no pixels; got 'impala_small'"
    ):
        dataclasses.replace(config, encoder="impala_small")


@pytest.mark.parametrize("name", ["bc", "fql"])
def test_an_unknown_encoder_is_refused(name):
    config = find_recipe(name).presets["default"]("cube-double-play-singletask-task1-v0").agent
    with pytest.raises(ValueError, match="`encoder` must be one of impala_small; got 'impala'"):
        dataclasses.replace(config, encoder="impala")


@pytest.mark.slow
def test_an_agent_learns_where_a_square_is():
    """From pixels alone: the error of actions on new pictures is a fraction of that of the best constant."""

    def batch_of_squares(seed, count):
        random = np.random.default_rng(seed)
        frames = random.integers(0, 30, (count, FRAMES, *FRAME), np.uint8)
        columns = random.integers(0, 6, count)
        for frame, column in zip(frames, columns, strict=True):
            frame[:, 3:5, column : column + 2] = 255
        pixels, action = jnp.asarray(frames.reshape(count, -1)), jnp.asarray(columns / 5 - 0.5, jnp.float32)[:, None]
        return fz.Transition(pixels, action, jnp.zeros(count), jnp.ones(count), pixels)

    recipe = find_recipe("gaussian_bc")
    settings = dataclasses.replace(settings_of(recipe), lr=3e-3)
    sizes = {"observation_dim": BYTES, "action_dim": 1, "reward_range": (-1.0, 0.0)}
    agent = recipe.build(**sizes, config=settings, key=jax.random.key(0))
    update, new = eqx.filter_jit(type(agent).update), batch_of_squares(999, 64)
    for step in range(200):
        agent, _ = update(agent, batch_of_squares(step, 32), jax.random.key(step))
    found = jax.vmap(lambda observation: agent.act(observation, jax.random.key(0)))(new.observation)
    assert jnp.mean((found - new.action) ** 2) < 0.2 * jnp.var(new.action)
