"""The clipped noise of TD3 as its formula, on any numbers."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

import floqzoo as fz
from floqzoo.testing import assert_close


add = jax.jit(lambda noise, action, key: noise.add(action, key))
numbers = st.integers(0, 32).map(lambda eighths: eighths / 8)
actions = arrays(np.float32, (2, 3), elements=st.integers(-8, 8).map(lambda eighths: eighths / 8))


@given(numbers, numbers, actions, st.integers(0, 99))
def test_noise_is_clipped_and_then_the_action(scale, limit, action, seed):
    drawn = np.asarray(jax.random.normal(jax.random.key(seed), action.shape, action.dtype))
    wanted = np.clip(action + np.clip(scale * drawn, -limit, limit), -1, 1)
    assert_close(add(fz.SmoothingNoise(scale, limit), jnp.asarray(action), jax.random.key(seed)), wanted)
