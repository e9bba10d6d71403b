"""A task of a user: reach the middle of a line, with pushes between 0 and 3 and success in a key of its own."""

import gymnasium
import numpy as np

from floqzoo.tasks import EpisodeArrays, GymnasiumTask, dataset_from_episodes


class Push(gymnasium.Env):
    """The push moves by itself less one and a half; passing the middle counts once, and the episode goes on."""

    def __init__(self, broken_at: int | None = None):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = gymnasium.spaces.Box(0.0, 3.0, (1,), np.float32)
        self.broken_at = broken_at

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = float(self.np_random.normal()), 0
        return np.array([self.x, 1.0]), {}

    def step(self, action):
        self.taken = np.array(action)
        before, self.t = self.x, self.t + 1
        self.x += float(action[0]) - 1.5
        passed = before * self.x <= 0
        observation = np.array([self.x, 1.0 if self.t != self.broken_at else np.nan])
        return observation, -abs(self.x), False, False, {"passed": passed}


def make() -> gymnasium.Env:
    return Push()


def record(seed: int, steps: int = 8) -> EpisodeArrays:
    environment, rng = make(), np.random.default_rng(seed)
    observations, actions, rewards = [environment.reset(seed=seed)[0]], [], []
    for _ in range(steps):
        actions.append(rng.uniform(0, 3, 1))
        observation, reward, *_ = environment.step(actions[-1])
        observations.append(observation)
        rewards.append(reward)
    return EpisodeArrays(observations, actions, rewards, terminated=False)


DATASET = dataset_from_episodes((record(seed) for seed in range(20)), action_low=0, action_high=3)


def push(**changes) -> GymnasiumTask:
    """The task, without success."""
    return GymnasiumTask(**{"name": "push", "dataset": DATASET, "environment": make, "max_episode_steps": 6} | changes)


def passing() -> GymnasiumTask:
    """The task, with success."""
    return push(success_key="passed", success_at="any", reference_returns=(-20.0, 0.0))


def only_data() -> GymnasiumTask:
    """The task, without its environment."""
    return push(environment=None)


number = 3
