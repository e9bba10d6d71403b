from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from toy_run import FLOAT, toy_agent

from floqzoo.learner.seeds import SeedUse, seed_key
from floqzoo.networks import MLP, with_compute_dtype
from floqzoo.policies import DistilledFlowPolicy
from floqzoo.records import ActorCritic
from floqzoo.rollout.batched_policy import ROWS, BatchedPolicy


POLICY = toy_agent().parts
ACT = eqx.filter_jit(POLICY.act)


numbers = st.tuples(st.integers(0, 999), st.integers(0, 2000))


@given(st.lists(numbers, min_size=1, max_size=2 * ROWS + 1, unique_by=lambda pair: pair[0]), st.integers(0, 99))
@settings(max_examples=10)
def test_each_row_is_the_policy_with_the_key_of_its_episode_and_step(rows, seed):
    episodes, steps = np.array(rows).T
    observations = np.random.default_rng(seed).normal(size=(len(rows), 2)).astype(FLOAT)
    actions = BatchedPolicy(POLICY, seed).actions(observations, episodes, steps)
    for observation, action, episode, step in zip(observations, actions, episodes, steps, strict=True):
        key = jax.random.fold_in(jax.random.fold_in(seed_key(seed, SeedUse.ACTIONS), episode), step)
        np.testing.assert_allclose(action, ACT(jnp.asarray(observation), key), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [ROWS, 2 * ROWS + 3])
def test_a_rows_action_has_the_same_bits_wherever_it_stands(rows):
    observations = np.random.default_rng(0).normal(size=(rows, 2)).astype(FLOAT)
    numbers = np.arange(rows)
    policy = BatchedPolicy(POLICY, 0)
    actions = policy.actions(observations, numbers, numbers)
    order = np.roll(np.arange(rows), 3)
    np.testing.assert_array_equal(policy.actions(observations[order], numbers[order], numbers[order]), actions[order])
    for row in range(rows):
        alone = policy.actions(observations[row : row + 1], numbers[row : row + 1], numbers[row : row + 1])
        np.testing.assert_array_equal(alone, actions[row : row + 1])


def test_a_policy_trained_in_bfloat16_acts_in_float32():
    """Bit for bit as one of the same parameters that was built in float32."""
    policy = DistilledFlowPolicy.build(2, 1, network=partial(MLP, hidden=(16, 16)), key=jax.random.key(0))
    observations, numbers = np.random.default_rng(0).normal(size=(3, 2)).astype(FLOAT), np.arange(3)
    trained = with_compute_dtype(policy, jnp.bfloat16)
    assert not np.array_equal(
        *(each.act_from(jnp.asarray(observations[0]), jnp.ones(1, FLOAT)) for each in (policy, trained))
    )
    exact, acted = (
        BatchedPolicy(ActorCritic(None, each), 0).actions(observations, numbers, numbers) for each in (policy, trained)
    )
    np.testing.assert_array_equal(acted, exact)
