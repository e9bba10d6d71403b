"""Collects demonstrations of a point-maze task with pixels, with which a small pixel agent is quickly trained.

    python benchmarks/pixel_demonstrations.py --task 3 --episodes 40 --directory pixel_data

An episode starts where the task starts and ends at its goal. Its actions are those with which OGBench collects its point-maze
datasets: a unit step along the shortest path, plus noise. The command prints the path of the training file, in OGBench's format.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro


sys.path.insert(0, str(Path(__file__).parents[1]))

from floqzoo.tasks.collect import collect_script
from floqzoo.tasks.episodes import Episode, StepLog, seeded
from floqzoo.tasks.maze import step_to_goal
from floqzoo.tasks.names import PIXELS
from floqzoo.tasks.renderer import require_renderer
from floqzoo.tasks.simulator import make


@dataclass(frozen=True)
class Settings:
    """What is collected."""

    task: int = 3
    """The number of the task, from 1 to 5."""
    episodes: int = 40
    """Training episodes; a tenth as many validation episodes are added."""
    maze: str = "medium"
    """The maze: medium, large, giant or teleport."""
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

    def record(self, seeds: np.random.SeedSequence) -> Episode:
        """Records one episode, which depends only on the script and `seeds`."""
        log, done = StepLog(), False
        with seeded(self._environment, seeds) as random:
            observation, _ = self._environment.reset()
            while not done:
                action = step_to_goal(self._environment.unwrapped, random)
                next_observation, _, terminated, truncated, info = self._environment.step(action)
                done = bool(terminated or truncated)
                log.add(observation, action, done, info)
                observation = next_observation
        return log.arrays()


def main(settings: Settings) -> None:
    """Collects, and prints the path of the training file."""
    environment = f"{PIXELS}pointmaze-{settings.maze}-singletask-task{settings.task}-v0"
    script = Demonstrations(f"{environment.removesuffix('-v0')}-demonstrations", environment, settings.episodes)
    path = collect_script(
        script, episodes=settings.episodes, seed=settings.seed, workers=1, directory=settings.directory
    )
    print(path)


if __name__ == "__main__":
    main(tyro.cli(Settings, config=(tyro.conf.FlagConversionOff,), use_underscores=True))
