"""Records scripted episodes in OGBench's point-mass mazes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from floqzoo.tasks.episodes import Episode, StepLog, seeded
from floqzoo.tasks.names import PIXELS
from floqzoo.tasks.renderer import require_renderer
from floqzoo.tasks.simulator import make


Cell = tuple[int, int]


@dataclass(frozen=True)
class MazeScript:
    """The settings for collecting one of OGBench's point-mass maze datasets.

    - `name`: The name of the dataset.
    - `environment`: The name under which the environment is registered with gymnasium.
    - `episodes`, `steps`: The number of training episodes in the published dataset, and the number of steps per
      episode.
    - `stitch`: Whether to collect a "stitch" dataset, in which each episode has a single goal, four cells from the
      start along the shortest path. If False, it is a "navigate" dataset, in which goals are cells that are not
      straight corridors, and a new goal is drawn whenever the current one is reached.
    """

    name: str
    environment: str
    episodes: int
    steps: int
    stitch: bool

    @property
    def renders(self) -> bool:
        """Whether observations are pixels."""
        return self.environment.startswith(PIXELS)

    def recorder(self) -> "MazeRecorder":
        """Builds the recorder, including its environment."""
        return MazeRecorder(self)


class MazeRecorder:
    """Records the episodes of a `MazeScript` in its environment."""

    def __init__(self, script: MazeScript):
        if script.renders:
            require_renderer(f"collecting {script.name}")
        self._script = script
        self._environment = make(script.environment, terminate_at_goal=False, max_episode_steps=script.steps)
        self._maze: Any = self._environment.unwrapped
        self._cells = free_cells(self._maze.maze_map)
        self._junctions = [cell for cell in self._cells if not is_corridor(self._maze.maze_map, cell)]

    def record(self, seeds: np.random.SeedSequence) -> Episode:
        """Records one episode, which depends only on the script and `seeds`."""
        environment, maze = self._environment, self._maze
        log = StepLog()
        with seeded(environment, seeds) as random:
            start = pick(self._cells, random)
            goal = self._goal_near(start, random) if self._script.stitch else pick(self._junctions, random)
            observation, _ = environment.reset(options={"task_info": {"init_ij": start, "goal_ij": goal}})
            done = False
            while not done:
                action = step_to_goal(maze, random)
                next_observation, _, terminated, truncated, info = environment.step(action)
                done = bool(terminated or truncated)
                log.add(observation, action, done, info)
                observation = next_observation
                if info["success"] and not self._script.stitch:
                    goal = pick(self._junctions, random)
                    maze.set_goal(goal_xy=maze.add_noise(maze.ij_to_xy(goal)))
        return log.arrays()

    def _goal_near(self, start: Cell, random: np.random.Generator) -> Cell:
        """A random cell at a path distance of exactly four cells, or the start if there is none."""
        centre = np.asarray(self._maze.ij_to_xy(start))
        _, distances = self._maze.get_oracle_subgoal(centre, centre)
        near = [cell for cell in self._cells if distances[cell] == 4]
        return pick(near, random) if near else start


def step_to_goal(maze: Any, random: np.random.Generator) -> np.ndarray:
    """Returns a unit step of OGBench's point mass along the shortest path to its goal, plus noise, clipped to [-1, 1]."""
    position = maze.get_xy()
    waypoint, _ = maze.get_oracle_subgoal(position, maze.cur_goal_xy)
    direction = (waypoint - position) / (np.linalg.norm(waypoint - position) + 1e-6)
    return np.clip(direction + random.normal(0.0, 0.5, size=2), -1.0, 1.0)


def pick(cells: list[Cell], random: np.random.Generator) -> Cell:
    """Draws a cell uniformly at random."""
    return cells[int(random.integers(len(cells)))]


def free_cells(walls: np.ndarray) -> list[Cell]:
    """Returns the row and the column of each cell without a wall."""
    return [(int(row), int(column)) for row, column in np.argwhere(walls == 0)]


def is_corridor(walls: np.ndarray, cell: Cell) -> bool:
    """Returns whether a free cell is a straight corridor: open along one axis, with walls along the other."""
    row, column = cell
    across = {bool(walls[row, column - 1]), bool(walls[row, column + 1])}
    along = {bool(walls[row - 1, column]), bool(walls[row + 1, column])}
    return (across, along) in [({True}, {False}), ({False}, {True})]
