"""The recipes learn tasks whose answers are known, with networks of 16 units and 1,000 updates.

Three tasks and three seeds are trained at once, as a leading axis of one program: their numbers differ, their shapes
do not. The tolerances are about twice the largest error of either recipe over two times twelve seeds:
0.17 for the constant reward, 0.094 and 0.073 for the value and the place of the best action, 0.046 for two steps.
"""

import functools
from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import floqzoo as fz
from recipes.floq import FloqConfig, floq
from recipes.fql import FQLConfig, fql


SEEDS, UPDATES, SIZE, BATCH = 3, 1000, 256, 32
SMALL = {"value_hidden_dims": (16, 16), "actor_hidden_dims": (16, 16)}
CONFIGS = {
    "floq": (
        floq,
        FloqConfig(block_width=16, block_depth=2, noise_samples=4, critic_flow_steps=4, actor_flow_steps=4, **SMALL),
    ),
    "fql": (fql, FQLConfig(flow_steps=4, **SMALL)),
}
OPTIMISER = optax.adam(optax.cosine_decay_schedule(0.01, UPDATES))
every_recipe = pytest.mark.parametrize("recipe", CONFIGS)


@dataclass(frozen=True)
class Task:
    """Transitions of one observation and one action; what they are worth follows from `discount`."""

    data: fz.Transition
    discount: float
    alpha: float
    reward_range: tuple[float, float]


def task(name):
    draw = np.random.default_rng(0)
    action, ones = draw.uniform(-1, 1, (SIZE, 1)), np.ones(SIZE)
    zero, one = np.zeros((SIZE, 1)), np.ones((SIZE, 1))
    if name == "constant reward":
        return make(zero, action, -ones, ones, zero, 0.9, 1.0, (-1.0, 0.0))
    if name == "best action":
        return make(zero, action, -4 * (action[:, 0] - 0.4) ** 2, ones, zero, 0.0, 0.1, (-8.0, 0.0))
    first = np.arange(SIZE) % 2 == 0
    start, then = np.where(first[:, None], zero, one), np.where(first[:, None], one, zero)
    return make(start, action, np.where(first, 0.0, 1.0), np.where(first, 1.0, 0.0), then, 0.5, 1.0, (0.0, 1.0))


def make(observation, action, reward, mask, next_observation, *rest):
    arrays = (observation, action, reward, mask, next_observation)
    return Task(fz.Transition(*(jnp.asarray(x, dtype=float) for x in arrays)), *rest)


TASKS = {name: task(name) for name in ("constant reward", "best action", "two steps")}


@functools.cache
def trained(recipe):
    """The agents of every task and seed after training, stacked along one axis, tasks first."""
    agents = [untrained(recipe, task, seed) for task in TASKS.values() for seed in range(SEEDS)]
    arrays, (rest, *_) = zip(*(eqx.partition(agent, eqx.is_array) for agent in agents), strict=True)
    data = [task.data for task in TASKS.values() for _ in range(SEEDS)]
    arrays, data = (jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in (arrays, data))

    def update(data, arrays, key):
        batch_key, update_key = jax.random.split(key)
        rows = jax.random.randint(batch_key, (BATCH,), 0, SIZE)
        agent, _ = eqx.combine(arrays, rest).update(jax.tree.map(lambda x: x[rows], data), update_key)
        return eqx.filter(agent, eqx.is_array)

    @jax.jit
    def train(data, arrays, keys):
        return jax.lax.scan(lambda arrays, keys: (jax.vmap(update)(data, arrays, keys), None), arrays, keys)[0]

    return train(data, arrays, jax.random.split(jax.random.key(1), (UPDATES, len(agents)))), rest


def untrained(recipe, task, seed):
    build, config = CONFIGS[recipe]
    config = replace(config, discount=task.discount, alpha=task.alpha)
    key = jax.random.key(seed)
    agent = build(observation_dim=1, action_dim=1, reward_range=task.reward_range, config=config, key=key)
    return fz.Agent(critic=agent.critic, policy=agent.policy, optimiser=OPTIMISER, tau=0.05)


def over_seeds(recipe, name, function):
    """`function(agent)` for each seed of a task."""
    arrays, rest = trained(recipe)
    first = SEEDS * list(TASKS).index(name)
    mine = jax.tree.map(lambda x: x[first : first + SEEDS], arrays)
    return np.asarray(jax.jit(jax.vmap(lambda arrays: function(eqx.combine(arrays, rest))))(mine))


def scores(recipe, name, observations, actions):
    """The score of each observation with each action, (seed, observation, action)."""
    observations, actions = (jnp.asarray(x, dtype=float)[:, None] for x in (observations, actions))
    every_pair = jax.vmap(jax.vmap(lambda agent, s, a: agent.critic.score(s, a), (None, None, 0)), (None, 0, None))
    return over_seeds(recipe, name, lambda agent: every_pair(agent, observations, actions))


def actions(recipe, name):
    """Actions at observation 0, (seed, draw)."""
    keys = jax.random.split(jax.random.key(2), 64)
    return over_seeds(recipe, name, lambda agent: jax.vmap(agent.policy.act, (None, 0))(jnp.zeros(1), keys)[:, 0])


@every_recipe
def test_a_constant_reward_of_minus_one_is_worth_minus_ten_at_a_discount_of_nine_tenths(recipe):
    found = scores(recipe, "constant reward", [0.0], np.linspace(-1, 1, 9))
    np.testing.assert_allclose(found, -10.0, atol=0.35)


@every_recipe
def test_the_policy_finds_the_best_action_and_the_critic_what_each_is_worth(recipe):
    tried = np.linspace(-0.9, 0.9, 7)
    found = scores(recipe, "best action", [0.0], tried)[:, 0]
    np.testing.assert_allclose(found, np.broadcast_to(-4 * (tried - 0.4) ** 2, found.shape), atol=0.2)
    np.testing.assert_allclose(actions(recipe, "best action"), 0.4, atol=0.15)


@every_recipe
def test_a_reward_two_steps_away_is_worth_its_discount_one_step_earlier(recipe):
    found = scores(recipe, "two steps", [0.0, 1.0], np.linspace(-1, 1, 5))
    np.testing.assert_allclose(found[:, 0], 0.5, atol=0.1)
    np.testing.assert_allclose(found[:, 1], 1.0, atol=0.1)


@every_recipe
def test_the_value_averaged_over_noise_tells_what_the_score_tells(recipe):
    """The readout of TD targets, where the flow critic's noise leaves a spread, against that of the policy."""
    np.testing.assert_allclose(values(recipe).mean(axis=1), -10.0, atol=0.35)


def values(recipe):
    """Values in the endless task, each from a noise of its own, (seed, draw)."""
    keys = jax.random.split(jax.random.key(3), 64)
    draw = jax.vmap(lambda agent, key: agent.critic.value(jnp.zeros(1), jnp.zeros(1), key), (None, 0))
    return over_seeds(recipe, "constant reward", lambda agent: draw(agent, keys))
