"""The ring of futures against a list of whole episodes."""

from collections import defaultdict

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from explored import explored, one_step
from hypothesis import given, strategies as st
from scipy import stats

from floqzoo.learner import GeometricFuture, NStep
from floqzoo.tasks import ReplayBuffer


write = jax.jit(lambda replay, new: replay.write(new))
read = eqx.filter_jit(lambda reader, store, at: reader.read(store, jnp.asarray(at), jax.random.key(0)))


def play(slots, environments, ends):
    """The replay after some rounds, and what a list knows of each transition: its episode and where in it it was."""
    replay = ReplayBuffer.empty(one_step(), seeds=1, slots=slots, environments=environments)
    episodes, current = defaultdict(list), [(column, 0) for column in range(environments)]
    for number, over in enumerate(ends):
        numbers = [number * environments + column for column in range(environments)]
        replay = write(replay, explored(numbers, np.array(over)))
        for column, transition in enumerate(numbers):
            episodes[current[column]].append((transition, over[column]))
            if over[column]:
                current[column] = (column, current[column][1] + 1)
    return replay, list(episodes.values())


def every_draw(replay, key=0):
    return drawn_at(replay, jnp.arange(int(replay.size(next_actions=True)[0])), jax.random.key(key))


def drawn_at(replay, ages, key):
    of_seed = replay.of_seed(jnp.asarray(0), next_actions=True)
    return GeometricFuture(0.7).read(of_seed, of_seed.of_age(ages), key)


@pytest.mark.slow
@given(data=st.data())
def test_next_actions_and_futures_are_those_of_the_list(data):
    environments, slots = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 4, 7]))
    rounds = st.lists(st.lists(st.booleans(), min_size=environments, max_size=environments), min_size=1, max_size=9)
    replay, episodes = play(slots, environments, data.draw(rounds))
    newest = sum(len(episode) for episode in episodes) - 1
    place = {number: (episode, index) for episode in episodes for index, (number, _) in enumerate(episode)}
    drawable = list(range(newest - environments, -1, -1))[:slots]
    drawn = every_draw(replay, data.draw(st.integers(0, 99)))
    np.testing.assert_array_equal(drawn.reward, np.array(drawable, np.float32))
    for row, number in enumerate(drawable):
        episode, index = place[number]
        over = episode[index][1]
        assert float(drawn.next_action[row, 0]) == (number + 0.75 if over else episode[index + 1][0] + 0.25)
        after = [later for later, _ in known(episode)[index + 1 :]]
        assert float(drawn.future[row, 0]) - 0.5 in (after or [number])


def known(episode):
    """The transitions of an episode whose next action is known."""
    return episode if episode[-1][1] else episode[:-1]


@given(rounds=st.lists(st.tuples(*[st.booleans()] * 3), min_size=7, max_size=7), n=st.sampled_from([2, 5]))
def test_the_next_action_of_an_n_step_return_is_that_of_the_step_after_it(rounds, n):
    """Or, after the end of an episode, the policy's. Only steps whose next action is known are used."""
    replay, episodes = play(12, 3, rounds)
    at = np.arange(17, 5, -1)  # The buffer holds the latest 12 of the first six rounds.
    of_seed = replay.of_seed(jnp.asarray(0), next_actions=True)
    np.testing.assert_array_equal(of_seed.of_age(jnp.arange(12)), at)
    batch = read(NStep(n, 0.9, next_action=True), of_seed, at)
    place = {number: (episode, index) for episode in episodes for index, (number, _) in enumerate(episode)}
    for row, number in enumerate(at):
        episode, index = place[number]
        last = min(index + n, len(known(episode))) - 1
        used, over = episode[last]
        assert float(batch.next_observation[row, 0]) == used + 0.5
        assert float(batch.next_action[row, 0]) == (used + 0.75 if over else episode[last + 1][0] + 0.25)


def test_the_future_is_geometric_given_that_it_comes_before_the_end():
    replay, _ = play(30, 1, [[False]] * 5 + [[True], [False]])
    draws = 20_000
    futures = jax.jit(lambda key: drawn_at(replay, jnp.full(draws, 5), key).future)(jax.random.key(0))
    # The first transition; five more follow it in its episode.
    ahead, counts = np.unique(np.round(np.asarray(futures)[:, 0] - 0.5).astype(int), return_counts=True)
    law = 0.7 ** np.arange(5)
    np.testing.assert_array_equal(ahead, np.arange(1, 6))
    assert stats.chisquare(counts, draws * law / law.sum()).pvalue > 1e-6
