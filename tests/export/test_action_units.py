"""An exported policy acts in the units of its environment."""

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from floqzoo.export.action_units import ActionUnits
from floqzoo.policies import ChunkedPolicy, FunctionPolicy
from floqzoo.tasks.own_environment import in_own_units, prepared_environment


DIM, STEPS = 2, 3
numbers = st.floats(-100, 100)
boxes = st.tuples(arrays(float, DIM, elements=numbers), arrays(float, DIM, elements=st.floats(0.01, 100))).map(
    lambda box: (box[0], box[0] + box[1])
)
actions = arrays(np.float32, DIM, elements=st.floats(-1, 1, width=32))
SINGLE = FunctionPolicy(jnp.tanh)
CHUNKED = ChunkedPolicy(SINGLE, STEPS, 2)


class Taker(gymnasium.Env):
    """Keeps the action that it takes."""

    def __init__(self, low, high):
        self.observation_space = gymnasium.spaces.Box(-1, 1, (1,))
        self.action_space = gymnasium.spaces.Box(low, high, dtype=np.float64)

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.taken = np.array(action)
        return np.zeros(1, np.float32), 0.0, False, False, {}


def units(box, policy=SINGLE):
    return ActionUnits.of_policy(policy, DIM * (STEPS if policy is CHUNKED else 1), box)


@given(boxes, actions)
def test_what_the_environment_takes_is_the_same_with_and_without_its_wrapper(box, action):
    wrapped = prepared_environment(Taker(*box), success_key=None, any_step=False, max_episode_steps=5)
    own = in_own_units(wrapped)
    wrapped.reset()
    wrapped.step(action)
    wanted = wrapped.unwrapped.taken
    found = np.asarray(units(box).from_policy(jnp.asarray(action)))
    assert own.action_space.contains(found.astype(np.float64))
    own.step(found)
    np.testing.assert_allclose(own.unwrapped.taken, wanted, rtol=0, atol=1e-6 * np.abs(box).max())


@given(boxes, actions)
def test_the_critic_scores_the_action_that_the_policy_drew(box, action):
    mapped = units(box)
    again = mapped.to_policy(mapped.from_policy(jnp.asarray(action)))
    # An action is known to the precision of float32 at the size of its bounds.
    np.testing.assert_allclose(
        again, action, rtol=0, atol=1e-6 * (1 + np.max(mapped.size / (mapped.high - mapped.low)))
    )


@given(boxes, arrays(np.float32, DIM * STEPS, elements=st.floats(-1, 1, width=32)))
def test_a_chunk_is_mapped_step_by_step(box, chunk):
    whole = units(box, CHUNKED)
    found = whole.from_policy(jnp.asarray(chunk))
    assert found.shape == whole.shape == (STEPS, DIM)
    for row, action in zip(found, chunk.reshape(STEPS, DIM), strict=True):
        np.testing.assert_array_equal(row, units(box).from_policy(jnp.asarray(action)))
    assert whole.to_policy(found).shape == chunk.shape


@given(actions)
def test_actions_between_minus_one_and_one_stay_bit_for_bit(action):
    mapped = units(None)
    np.testing.assert_array_equal(mapped.from_policy(jnp.asarray(action)), action)
    np.testing.assert_array_equal(mapped.to_policy(jnp.asarray(action)), action)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((np.zeros(DIM), np.zeros(DIM)), "finite, each lower bound below"),
        ((np.full(DIM, -np.inf), np.ones(DIM)), "finite, each lower bound below"),
        ((-np.ones(3), np.ones(3)), r"two vectors of 2 numbers.*\(3,\)"),
    ],
)
def test_other_bounds_are_refused(box, message):
    with pytest.raises(ValueError, match=message):
        units(box)
