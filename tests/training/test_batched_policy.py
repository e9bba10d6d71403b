import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from toy_run import FLOAT, toy_agent

from floqzoo.learner.seeds import SeedUse, seed_key
from floqzoo.rollout.batched_policy import ROWS, BatchedPolicy


POLICY = toy_agent().parts
ACT = eqx.filter_jit(POLICY.act)


numbers = st.tuples(st.integers(0, 999), st.integers(0, 2000))


@given(st.lists(numbers, min_size=1, max_size=ROWS, unique=True), st.integers(0, 99))
@settings(max_examples=10)
def test_each_row_is_the_policy_with_the_key_of_its_episode_and_step(rows, seed):
    episodes, steps = np.array(rows).T
    observations = np.random.default_rng(seed).normal(size=(len(rows), 2)).astype(FLOAT)
    actions = BatchedPolicy(POLICY, seed).actions(observations, episodes, steps)
    for observation, action, episode, step in zip(observations, actions, episodes, steps, strict=True):
        key = jax.random.fold_in(jax.random.fold_in(seed_key(seed, SeedUse.ACTIONS), episode), step)
        np.testing.assert_allclose(action, ACT(jnp.asarray(observation), key), rtol=1e-5, atol=1e-6)


def test_a_rows_action_has_the_same_bits_wherever_it_stands():
    observations = np.random.default_rng(0).normal(size=(ROWS, 2)).astype(FLOAT)
    numbers = np.arange(ROWS)
    policy = BatchedPolicy(POLICY, 0)
    actions = policy.actions(observations, numbers, numbers)
    order = np.roll(np.arange(ROWS), 3)
    np.testing.assert_array_equal(policy.actions(observations[order], numbers[order], numbers[order]), actions[order])
    for row in range(ROWS):
        alone = policy.actions(observations[row : row + 1], numbers[row : row + 1], numbers[row : row + 1])
        np.testing.assert_array_equal(alone, actions[row : row + 1])


def test_more_rows_than_the_program_has_are_refused():
    many = np.zeros(ROWS + 1, int)
    with pytest.raises(ValueError, match=rf"at most {ROWS} rows; got {ROWS + 1}"):
        BatchedPolicy(POLICY, 0).actions(np.zeros((ROWS + 1, 2), np.float32), many, many)
