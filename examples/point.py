"""Your own environment: move a point to a goal in the plane, from data of a hand that drifts.

    floqzoo sweep examples/point.yaml        # or: python recipes/fql.py --preset quickstart --task examples/point.py:point

Observations are the position and the goal, both in [-1, 1]^2; actions are velocities in [-1, 1]^2. An episode ends in success
within 0.1 of the goal, or after 60 steps; each step before the goal costs 1. The data are 400 episodes of a behaviour that heads
for the goal, each with a speed, an error of direction and noise of its own.
"""

import functools

import gymnasium
import numpy as np

from floqzoo.tasks import EpisodeArrays, GymnasiumTask, dataset_from_episodes


EPISODES, STEPS = 400, 60
SPEED, GOAL_RADIUS = 0.08, 0.1


class PointInPlane(gymnasium.Env):
    """A point that moves to a goal, both drawn again in each episode."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Draws position and goal."""
        super().reset(seed=seed)
        self.position, self.goal = self.np_random.uniform(-1, 1, (2, 2))
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Moves the point, which stays within the square."""
        self.position = np.clip(self.position + SPEED * np.asarray(action, np.float64), -1, 1)
        success = bool(np.linalg.norm(self.goal - self.position) < GOAL_RADIUS)
        return self._observation(), float(success) - 1, success, False, {"success": success}

    def _observation(self) -> np.ndarray:
        return np.concatenate([self.position, self.goal]).astype(np.float32)


def behaviour(observation: np.ndarray, speed: float, drift: float, rng: np.random.Generator) -> np.ndarray:
    """Heads for the goal at a speed, turned by an angle, with noise."""
    x, y = observation[2:] - observation[:2]
    angle = np.arctan2(y, x) + drift
    heading = np.array([np.cos(angle), np.sin(angle)])
    return np.clip(speed * heading + rng.normal(scale=0.3, size=2), -1, 1).astype(np.float32)


def record(seed: int) -> EpisodeArrays:
    """One episode of the behaviour."""
    environment, rng = PointInPlane(), np.random.default_rng(seed)
    speed, drift = rng.uniform(0.1, 1), rng.normal(scale=0.9)
    observation, _ = environment.reset(seed=seed)
    observations, actions, rewards, terminated = [observation], [], [], False
    while not terminated and len(actions) < STEPS:
        action = behaviour(observation, speed, drift, rng)
        observation, reward, terminated, _, _ = environment.step(action)
        observations.append(observation)
        actions.append(action)
        rewards.append(reward)
    return EpisodeArrays(np.array(observations), np.array(actions), np.array(rewards), terminated)


@functools.cache
def point() -> GymnasiumTask:
    """The task, with data that are recorded when it is called: two seconds, the same numbers each time."""
    dataset = dataset_from_episodes(record(seed) for seed in range(EPISODES))
    return GymnasiumTask(
        name="point", dataset=dataset, environment=PointInPlane, success_key="success", max_episode_steps=STEPS
    )
