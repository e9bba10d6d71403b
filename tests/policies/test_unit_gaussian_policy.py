"""A Gaussian of unit variance whose actions are clipped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from floqzoo.policies.unit_gaussian_policy import UnitGaussianPolicy


@pytest.mark.parametrize("mean", [-1.5, -0.5, 0.0, 0.75, 3.0])
def test_it_acts_with_its_mean_and_explores_with_samples_both_clipped(mean):
    policy = UnitGaussianPolicy(lambda observation: jnp.full(1000, mean))
    assert_all = np.testing.assert_array_equal
    assert_all(policy.mode(jnp.ones(2)), np.full(1000, np.clip(mean, -1, 1), np.float32))
    drawn = np.asarray(policy.explore(jnp.ones(2), None, jax.random.key(0)))
    assert np.abs(drawn).max() == 1
    for bound, share in ((-1, norm.cdf(-1 - mean)), (1, norm.sf(1 - mean))):
        assert abs(np.mean(drawn == bound) - share) < 5 * np.sqrt(share * (1 - share) / 1000) + 1e-3
