"""The benchmark's yardstick does the same arithmetic as the modular update, and its count of FLOPs is right."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import floqzoo as fz
from benchmarks import hand_batched_floq as hand
from benchmarks.counted_flops import matrix_flops
from benchmarks.measured_update import random_dataset, update_cost
from recipes.bc import BCConfig, bc
from recipes.floq import FloqConfig, floq


CONFIG = FloqConfig(
    alpha=3.0,
    block_width=16,
    block_depth=2,
    actor_hidden_dims=(16, 16),
    value_hidden_dims=(16, 16),
    noise_samples=3,
    critic_flow_steps=4,
    tau=0.1,
)
SIZES = hand.Sizes(3, 4, 10, 0.99, 3.0, 0.1, (-10.0, 0.0), (-101.0, 1.0), 51, 16.0)


def test_one_update_by_hand_equals_the_modular_one():
    agent_key, state_key, action_key, next_key, update_key = jax.random.split(jax.random.key(0), 5)
    agent = floq(observation_dim=4, action_dim=2, reward_range=(-1.0, 0.0), config=CONFIG, key=agent_key)
    # Next actions draw their noise one by one in the one program and all at once in the other: let them not read it.
    agent = eqx.tree_at(lambda a: a.policy.network.stem.weight, agent, replace_fn=lambda w: w.at[4:].set(0.0))
    batch = fz.Transition(
        observation=jax.random.normal(state_key, (8, 4)),
        action=jax.random.uniform(action_key, (8, 2), minval=-1.0),
        reward=-jnp.ones(8),
        mask=jnp.array([1.0] * 7 + [0.0]),
        next_observation=jax.random.normal(next_key, (8, 4)),
    )
    modular, _ = eqx.filter_jit(fz.Agent.update)(agent, batch, update_key)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        state = hand.state_of(agent)
        by_hand = jax.jit(
            lambda state: hand.update(state, batch, jax.random.clone(update_key), SIZES, agent.optimiser)
        )(state)
    expected = hand.state_of(modular).online
    # One Adam step moves each parameter by up to the learning rate; agreement is to a hundredth of that.
    for mine, theirs in zip(jax.tree.leaves(by_hand.online), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=3e-6)
    targets = hand.from_modules(modular.target_critic.fields.members.network)
    for mine, theirs in zip(jax.tree.leaves(by_hand.target_fields), jax.tree.leaves(targets), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def test_counted_flops_of_a_loop_of_products():
    a = jnp.ones((3, 5))

    def function(x):
        return jax.lax.scan(lambda x, _: ((x @ a) @ a.T, None), x, length=7)[0]

    assert matrix_flops(function, jnp.ones((2, 3))) == 7 * 2 * (2 * 2 * 3 * 5)


def test_two_seeds_cost_twice_the_products_and_share_the_dataset():
    dataset, config = random_dataset(1000, (4, 2)), BCConfig(actor_hidden_dims=(16,), flow_steps=2, batch_size=8)
    one, two = (update_cost(bc, config, dataset, seeds=seeds, updates=1, repeats=1) for seeds in (1, 2))
    size = dataset.observations.nbytes
    assert two.flops == 2 * one.flops > 0
    assert one.seed_updates_per_second == 1 / one.seconds
    assert two.peak_bytes < 2 * one.peak_bytes - size / 2
    assert one.peak_bytes > size
