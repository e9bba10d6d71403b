"""Collects demonstrations of a task with pixels, with which a small pixel agent is quickly trained.

    python benchmarks/pixel_demonstrations.py --task 3 --episodes 40 --directory pixel_data
    python benchmarks/pixel_demonstrations.py --environment cube-single --task 1 --episodes 60 --directory pixel_data

An episode starts where the task starts and ends at its goal; attempts that miss the goal are made again. The actions are those
with which OGBench collects its datasets. In a point maze, they are unit steps along the shortest path, plus noise. The robot arm
follows a plan with correlated noise, by which it moves the cube to the goal. The command prints the path of the training file,
in OGBench's format.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro


sys.path.insert(0, str(Path(__file__).parents[1]))

from floqzoo.tasks.collect import collect_script
from floqzoo.tasks.episodes import Episode, StepLog, first_accepted, seeded
from floqzoo.tasks.maze import step_to_goal
from floqzoo.tasks.names import PIXELS
from floqzoo.tasks.renderer import require_renderer
from floqzoo.tasks.simulator import make, ogbench_module


@dataclass(frozen=True)
class Settings:
    """What is collected."""

    environment: str = "pointmaze-medium"
    """The environment: a point maze, such as pointmaze-medium, or cube-single."""
    task: int = 3
    """The number of the task, from 1 to 5."""
    episodes: int = 40
    """Training episodes; a tenth as many validation episodes are added."""
    pixels: bool = True
    """Whether observations are pixels instead of states."""
    seed: int = 0
    """The seed of the episodes."""
    directory: Path = Path("pixel_data")
    """Where the files go."""


@dataclass(frozen=True)
class Demonstrations:
    """The settings for collecting demonstrations of a single task; a `DatasetScript`."""

    name: str
    environment: str
    episodes: int
    steps: int = 1_000

    @property
    def renders(self) -> bool:
        """Whether observations are pixels."""
        return self.environment.startswith(PIXELS)

    def recorder(self) -> "DemonstrationRecorder":
        """Builds the recorder, including its environment."""
        return DemonstrationRecorder(self)


class DemonstrationRecorder:
    """Records the episodes of a `Demonstrations` script."""

    def __init__(self, script: Demonstrations):
        if script.renders:
            require_renderer(f"collecting {script.name}")
        self._environment = make(script.environment)
        self._environment.reset(seed=0)  # the first reset also compiles the arm's model, and differs from later ones
        self._actor = _arm if "cube-single" in script.environment else _point

    def record(self, seeds: np.random.SeedSequence) -> Episode:
        """Records one episode that reaches the goal; it depends only on the script and `seeds`."""
        return first_accepted(self._attempt, lambda episode: bool(episode["terminals"][-1]), seeds)

    def _attempt(self, seeds: np.random.SeedSequence) -> Episode:
        """Plays one episode, whose last step is terminal if it reached the goal."""
        log, done = StepLog(), False
        with seeded(self._environment, seeds) as random:
            observation, info = self._environment.reset()
            act = self._actor(self._environment, observation, info, random)
            while not done:
                action = act(observation, info)
                next_observation, _, terminated, truncated, info = self._environment.step(action)
                done = bool(terminated or truncated)
                log.add(observation, action, bool(terminated), info)
                observation = next_observation
        return log.arrays()


Act = Callable[[np.ndarray, dict], np.ndarray]


def _point(environment: Any, observation: np.ndarray, info: dict, random: np.random.Generator) -> Act:
    """How the point moves."""
    del observation, info
    return lambda observation, info: step_to_goal(environment.unwrapped, random)


def _arm(environment: Any, observation: np.ndarray, info: dict, random: np.random.Generator) -> Act:
    """How the arm moves the cube: OGBench's plan, which reads from `info` what it does not contain outside collection."""
    del random
    arm = environment.unwrapped
    oracle = ogbench_module("ogbench.manipspace.oracles.plan.cube_plan").CubePlanOracle(
        env=environment, noise=0.1, noise_smoothing=0.5
    )
    goal = {
        "privileged/target_block": 0,
        "privileged/target_block_pos": arm.data.mocap_pos[arm._cube_target_mocap_ids[0]].copy(),
        "privileged/target_block_yaw": np.zeros(1),
    }
    oracle.reset(observation, info | goal)
    return lambda observation, info: np.clip(oracle.select_action(observation, info), -1, 1)


def main(settings: Settings) -> None:
    """Collects, and prints the path of the training file."""
    environment = f"{PIXELS * settings.pixels}{settings.environment}-singletask-task{settings.task}-v0"
    script = Demonstrations(f"{environment.removesuffix('-v0')}-demonstrations", environment, settings.episodes)
    path = collect_script(
        script, episodes=settings.episodes, seed=settings.seed, workers=1, directory=settings.directory
    )
    print(path)


if __name__ == "__main__":
    main(tyro.cli(Settings, use_underscores=True))
