"""Returns of played episodes, and the tables of one run."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from training.toy_run import Line, Walker

import floqzoo as fz
from floqzoo.results.played_returns import played_returns, returns_to_go
from floqzoo.results.video import record_video
from floqzoo.rollout import evaluate


rewards = arrays(float, st.integers(1, 12), elements=st.floats(-5, 5, width=32))


@given(rewards, st.floats(0, 0.99))
def test_returns_to_go_are_the_sums_that_they_are_defined_by(rewards, discount):
    expected = [np.sum(discount ** np.arange(len(rewards) - t) * rewards[t:]) for t in range(len(rewards))]
    np.testing.assert_allclose(returns_to_go(rewards, discount), expected, atol=1e-9)


WALKER = fz.ActorCritic(None, Walker(jnp.array(0.6)))


def played(**settings):
    return played_returns(WALKER, Line, **({"discount": 0.9, "episodes": 6, "seed": 3} | settings))


def test_the_episodes_are_those_of_the_evaluation():
    found = played(discount=0.0)
    expected = evaluate(WALKER, Line, episodes=6, seed=3)
    lengths = np.bincount(found.episode)
    np.testing.assert_array_equal(lengths, expected.length)
    firsts = np.unique(found.episode, return_index=True)[1]
    np.testing.assert_array_equal(found.success[firsts], expected.success)
    np.testing.assert_allclose(np.bincount(found.episode, found.returns), expected.episode_return)


def test_what_a_time_limit_cut_off_is_weighed():
    found = played()
    for episode in np.unique(found.episode):
        own = found.episode == episode
        left = np.arange(own.sum(), 0, -1)
        np.testing.assert_allclose(found.unknown[own], 0.0 if found.success[own].all() else 0.9**left)
    assert found.known(1.0).all()
    assert (found.known() == (found.unknown <= 0.01)).all()


class Unsuccessful(Line):
    """Ends where `Line` does, and calls it no success."""

    def step(self, action):
        *outcome, info = super().step(action)
        return *outcome, {**info, "success": 0.0}


def test_nothing_is_unknown_after_a_terminal_state_that_is_no_success():
    found = played_returns(WALKER, Unsuccessful, discount=0.9, episodes=6, seed=3)
    assert not found.success.any() and played().success.any()
    np.testing.assert_array_equal(found.unknown, played().unknown)


def test_a_reward_of_the_next_state_is_moved_to_its_state():
    plain, moved = played(), played(pays_next_state=True)
    for episode in np.unique(plain.episode):
        before, after = plain.episode == episode, moved.episode == episode
        if before.sum() > 1:
            np.testing.assert_array_equal(moved.observations[after], plain.observations[before][1:])
            np.testing.assert_array_equal(moved.returns[after], plain.returns[before][:-1])


@pytest.mark.parametrize(("settings", "name"), [({"episodes": 0}, "episodes"), ({"discount": 1.0}, "discount")])
def test_mistakes_are_named(settings, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        played(**settings)


class Drawn(Line):
    """As Gymnasium's environments without a render mode."""

    def render(self):
        return None


@pytest.mark.parametrize("environment", [Line, Drawn])
def test_a_video_is_of_an_environment_that_draws(tmp_path, environment):
    with pytest.raises(
        ValueError, match=rf"that of {environment.__name__} returns NoneType\. Make the environment with"
    ):
        record_video(WALKER, environment, tmp_path / "film.mp4", episodes=1, seed=0)
    assert not list(tmp_path.iterdir())
