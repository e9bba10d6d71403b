from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from explored import explored, one_step
from hypothesis import given, strategies as st

from floqzoo.tasks import ReplayBuffer


write = jax.jit(lambda replay, new: replay.write(new))


@pytest.mark.slow
@given(slots=st.sampled_from([1, 2, 5, 8]), rounds=st.integers(0, 12), data=st.data())
def test_the_ring_holds_the_latest_transitions_as_a_list_would(slots, rounds, data):
    width = data.draw(st.integers(1, slots))
    replay, model = ReplayBuffer.empty(one_step(), seeds=2, slots=slots, environments=width), []
    assert (replay.slots, replay.environments) == (slots, width)
    for number in range(rounds):
        numbers = [number * width + column for column in range(width)]
        # The second seed's numbers are other ones.
        replay = write(replay, explored(np.array([numbers, [1000 + number for number in numbers]])))
        model = (model + numbers)[-slots:]
    np.testing.assert_array_equal(replay.size(next_actions=False), [len(model)] * 2)
    np.testing.assert_array_equal(replay.written, [rounds * width] * 2)
    for place, first in ((0, 0), (1, 1000)):
        of_seed = replay.of_seed(jnp.asarray(place), next_actions=False)
        drawn = of_seed.transition(of_seed.of_age(jnp.arange(len(model))))
        expected = first + np.array(model[::-1], np.float32)
        np.testing.assert_array_equal(drawn.reward, expected)
        np.testing.assert_array_equal(drawn.observation[:, 0], expected)
        np.testing.assert_array_equal(drawn.action[:, 0], expected + 0.25)
        np.testing.assert_array_equal(drawn.next_observation[:, 0], expected + 0.5)


def test_a_write_is_compiled_once_whatever_was_written_before():
    replay = ReplayBuffer.empty(one_step(), seeds=1, slots=3, environments=1)
    counting = jax.jit(lambda replay, new: traced.append(1) or replay.write(new))
    traced = []
    for number in range(7):
        replay = counting(replay, explored([number]))
    assert len(traced) == 1
    of_seed = replay.of_seed(jnp.asarray(0), next_actions=False)
    latest = of_seed.transition(of_seed.of_age(jnp.arange(3)))
    np.testing.assert_array_equal(latest.reward, [6, 5, 4])


@pytest.mark.parametrize("name", ["seeds", "slots", "environments"])
def test_an_empty_size_is_refused(name):
    sizes = {"seeds": 1, "slots": 1, "environments": 1} | {name: 0}
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1; got 0"):
        partial(ReplayBuffer.empty, one_step())(**sizes)


def test_a_round_of_other_environments_is_refused():
    replay = ReplayBuffer.empty(one_step(), seeds=1, slots=4, environments=2)
    with pytest.raises(ValueError, match="`new` must have 2 environments per seed; got 3"):
        replay.write(explored([0, 1, 2]))
