"""What an export reads from the environment of a run."""

import numpy as np
import pytest

import floqzoo as fz
from floqzoo.export.start import control_timestep, seen_at_start
from floqzoo.policies import FunctionPolicy
from floqzoo.rollout.episode_player import EpisodePlayer
from floqzoo.tasks.own_environment import prepared_environment


class Counting:
    """As OGBench's manipulation environments have it."""

    def control_timestep(self) -> float:
        return 0.05


class Timed:
    dt = 0.02


class Untimed:
    dt = None


@pytest.mark.parametrize(("environment", "seconds"), [(Counting(), 0.05), (Timed(), 0.02), (Untimed(), None)])
def test_the_control_rate_is_known_under_either_name(environment, seconds):
    assert control_timestep(environment) == seconds


def test_the_observations_are_those_of_the_evaluation_and_short_episodes_follow_each_other():
    gymnasium = pytest.importorskip("gymnasium")

    class Walk(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))
        action_space = gymnasium.spaces.Box(-3.0, 1.0, (1,))

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.x = self.np_random.normal(size=1).astype(np.float32)
            return self.x, {}

        def step(self, action):
            self.x = self.x + action
            return self.x, 0.0, False, False, {}

    def make():
        return prepared_environment(Walk(), success_key=None, any_step=False, max_episode_steps=2)

    actor = fz.ActorCritic(None, FunctionPolicy(lambda observation: 0 * observation + 0.5))
    start = seen_at_start(actor, make, 3, count=5)
    player, wanted = EpisodePlayer(make()), []
    for episode in range(3):
        player.begin(episode, 3)
        wanted += [player.receive_start(), player.receive_start() + 0]  # 0.5 of [-1, 1] is 0 of [-3, 1].
    np.testing.assert_allclose(start.observations, wanted[:5], atol=1e-6)
    np.testing.assert_array_equal(start.action_bounds, [[-3], [1]])
    assert start.control_rate is None
