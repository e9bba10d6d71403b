"""Returns and futures of episodes, against sums that are written out."""

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest

from floqzoo.policies import FunctionPolicy
from floqzoo.records import ActorCritic
from floqzoo.studies.rollouts import Rollout, played_rollouts, recorded_rollouts
from floqzoo.tasks import make_dataset


class Counter(gymnasium.Env):
    """Counts its steps; being at n pays n, when the next step is taken."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n = 0
        return np.array([0.0]), {}

    def step(self, action):
        paid, self.n = float(self.n), self.n + 1
        return np.array([float(self.n)]), paid, False, self.n == 4, {"success": 0.0}


def test_a_return_begins_with_the_reward_of_the_next_state():
    rollout = Rollout(np.zeros(1), np.zeros(1), np.arange(1.0, 4.0)[:, None], np.array([1.0, 2.0, 3.0]))
    assert rollout.discounted_return(0.5) == 1 + 0.5 * 2 + 0.25 * 3
    assert rollout.discounted_return(0.0) == 1
    drawn = rollout.resampled(0.5, 20_000, np.random.default_rng(0))[:, 0]
    law = np.array([1, 0.5, 0.25]) / 1.75
    shares = np.array([(drawn == k).mean() for k in (1, 2, 3)])
    assert np.all(np.abs(shares - law) < 6 * np.sqrt(law * (1 - law) / 20_000))


def test_played_episodes_are_those_of_the_environment():
    policy = ActorCritic(None, FunctionPolicy(lambda s: jnp.zeros(1)))
    first, second = played_rollouts(policy, Counter(), 2, seed=0)
    np.testing.assert_array_equal(first.futures[:, 0], [1, 2, 3])
    np.testing.assert_array_equal(first.rewards, [1, 2, 3])
    np.testing.assert_array_equal(first.futures, second.futures)
    assert first.observation == 0


def test_recorded_episodes_are_those_of_the_data():
    times = np.concatenate([np.arange(4), np.arange(3)]).astype(np.float32)
    dataset = make_dataset(
        observations=times[:, None],
        actions=(times / 10)[:, None],
        rewards=times,
        masks=np.ones(7, np.float32),
        terminals=np.array([0, 0, 0, 1, 0, 0, 1], bool),
    )
    rollouts = recorded_rollouts(dataset, 5)
    assert [len(rollout.futures) for rollout in rollouts] == [3, 2]
    np.testing.assert_array_equal(rollouts[0].futures[:, 0], [1, 2, 3])
    np.testing.assert_array_equal(rollouts[1].rewards, [1, 2])


def test_futures_may_start_with_the_current_state():
    policy = ActorCritic(None, FunctionPolicy(lambda s: jnp.zeros(1)))
    (played,) = played_rollouts(policy, Counter(), 1, seed=0, from_current=True)
    np.testing.assert_array_equal(played.futures[:, 0], [0, 1, 2, 3])
    np.testing.assert_array_equal(played.rewards, [0, 1, 2, 3])
    times = np.arange(4, dtype=np.float32)
    dataset = make_dataset(
        observations=times[:, None],
        actions=times[:, None] / 10,
        rewards=times,
        masks=np.ones(4, np.float32),
        terminals=times == 3,
    )
    (recorded,) = recorded_rollouts(dataset, 5, from_current=True)
    np.testing.assert_array_equal(recorded.futures[:, 0], [0, 1, 2, 3])
    np.testing.assert_array_equal(recorded.rewards, [0, 1, 2, 3])


def test_an_episode_of_one_step_has_no_futures():
    class Short(Counter):
        def step(self, action):
            return (*super().step(action)[:3], True, {})

    policy = ActorCritic(None, FunctionPolicy(lambda s: jnp.zeros(1)))
    with pytest.raises(ValueError, match="the episode is too short to compare futures with"):
        played_rollouts(policy, Short(), 1, seed=0)


@pytest.mark.parametrize("count", [0, -1])
def test_at_least_one_episode_is_asked_for(count):
    with pytest.raises(ValueError, match="`count` must be at least 1"):
        played_rollouts(ActorCritic(None, FunctionPolicy(lambda s: s)), Counter(), count, 0)
