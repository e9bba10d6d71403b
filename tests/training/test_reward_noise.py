"""Noise in rewards: its law, what it leaves alone, and the flag that sets it."""

import warnings
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from floqzoo.learner import RewardNoise, UniformBatches
from floqzoo.runs.recipe import standard_batches
from floqzoo.tasks import make_dataset
from recipes import floq, fql


PLACE = jnp.asarray(0)


def dataset(states=50):
    random = np.random.default_rng(0)
    return make_dataset(
        observations=random.normal(size=(states, 2)).astype(np.float32),
        actions=random.uniform(-1, 1, (states, 1)).astype(np.float32),
        rewards=random.normal(size=states).astype(np.float32),
        masks=np.ones(states, np.float32),
        terminals=np.arange(states) % 10 == 9,
    )


@given(scale=st.floats(0.125, 8, width=32), seed=st.integers(0, 100))
def test_the_noise_is_gaussian_and_changes_the_rewards_alone(scale, seed):
    data = dataset()
    batch = RewardNoise(UniformBatches(), scale).draw_batch(data, None, PLACE, jax.random.key(seed), 2_000)
    rewards = dict(zip(np.asarray(data.observations)[:, 0].tolist(), np.asarray(data.rewards).tolist(), strict=True))
    noise = np.asarray(batch.reward) - [rewards[first] for first in np.asarray(batch.observation)[:, 0].tolist()]
    assert stats.kstest(noise / scale, "norm").pvalue > 1e-6
    assert batch.reward.dtype == data.rewards.dtype


def test_a_scale_of_0_changes_nothing():
    noisy = RewardNoise(UniformBatches(), 0.0).draw_batch(dataset(), None, PLACE, jax.random.key(0), 20)
    plain = UniformBatches().draw_batch(dataset(), None, PLACE, jax.random.split(jax.random.key(0))[0], 20)
    for one, other in zip(jax.tree.leaves(noisy), jax.tree.leaves(plain), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("recipe", [floq.RECIPE, fql.RECIPE])
def test_the_flag_of_the_recipes_adds_it(recipe):
    with warnings.catch_warnings(action="ignore"):
        run = recipe.presets["quickstart"](None)
    for online in (False, True):
        assert not isinstance(standard_batches(run, online), RewardNoise)
        noisy = replace(run, agent=replace(run.agent, target_noise_magnitude=4.0))
        assert eqx.tree_equal(standard_batches(noisy, online), RewardNoise(standard_batches(run, online), 4.0))
    with pytest.raises(ValueError, match="`target_noise_magnitude` must be at least 0 and finite; got -1"):
        replace(run.agent, target_noise_magnitude=-1.0)
