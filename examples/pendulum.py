"""Your own task: swing up a pendulum, from data of a policy that only half knows how.

    floqzoo sweep examples/pendulum.yaml        # or: python recipes/fql.py --preset quickstart --task examples/pendulum.py:pendulum

The environment is Gymnasium's Pendulum-v1: torques in [-2, 2], rewards from -16.3 to 0, no success, 200 steps. The data are
120 episodes of energy-based swing-up, each with noise and a strength of its own.
"""

import dataclasses
import functools

import gymnasium
import numpy as np

from floqzoo.tasks import EpisodeArrays, GymnasiumTask, dataset_from_episodes


EPISODES = 120
MILLI = np.array([1, 1, 1000], np.float32)
"""The units of `pendulum_in_milliradians`."""


def make_environment() -> gymnasium.Env:
    """A fresh environment."""
    return gymnasium.make("Pendulum-v1")


def behaviour(observation: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Pumps energy into the swing, and holds the pendulum where it is nearly upright: of random strength, with much noise."""
    cosine, sine, speed = observation
    torque = -10 * sine - 2 * speed if cosine > 0.9 else strength * np.sign(speed)
    return np.clip(torque + rng.normal(scale=0.7), -2, 2).astype(np.float32)[None]


def record(seed: int) -> EpisodeArrays:
    """One episode of the behaviour."""
    environment, rng = make_environment(), np.random.default_rng(seed)
    strength = rng.uniform(-0.5, 2)
    observation, _ = environment.reset(seed=seed)
    observations, actions, rewards, over, terminated = [observation], [], [], False, False
    while not over:
        action = behaviour(observation, strength, rng)
        observation, reward, terminated, truncated, _ = environment.step(action)
        observations.append(observation)
        actions.append(action)
        rewards.append(reward)
        over = terminated or truncated
    environment.close()
    return EpisodeArrays(np.array(observations), np.array(actions), np.array(rewards), terminated)


@functools.cache
def pendulum() -> GymnasiumTask:
    """The task, whose data are recorded again at each start: ten seconds, the same numbers each time."""
    dataset = dataset_from_episodes((record(seed) for seed in range(EPISODES)), action_low=-2, action_high=2)
    return GymnasiumTask(name="pendulum", dataset=dataset, environment=make_environment)


def make_in_milliradians() -> gymnasium.Env:
    """A fresh environment whose angular velocity is in thousandths of a radian per second: up to 8000, the others up to 1."""
    environment = make_environment()
    space = gymnasium.spaces.Box(-8000, 8000, (3,), np.float32)
    return gymnasium.wrappers.TransformObservation(environment, lambda observation: MILLI * observation, space)


@functools.cache
def pendulum_in_milliradians() -> GymnasiumTask:
    """The same task and data in these units: train it with `--normalize_observations=True`."""
    task = pendulum()
    dataset = dataclasses.replace(task.dataset, observations=task.dataset.observations * MILLI)
    return GymnasiumTask(name="pendulum in milliradians", dataset=dataset, environment=make_in_milliradians)
