"""The names of OGBench's tasks: single tasks, and goal-conditioned tasks with oracle representations of goals."""

import difflib
import re
from dataclasses import dataclass

from floqzoo.tasks.simulator import registered_environments


# The kinds of data of each family: the part of a dataset name that is not in the environment name.
DATASET_KINDS: dict[str, tuple[str, ...]] = {
    "cube": ("play", "noisy"),
    "scene": ("play", "noisy"),
    "puzzle": ("play", "noisy"),
    "pointmaze": ("navigate", "stitch"),
    "antmaze": ("navigate", "stitch", "explore"),
    "humanoidmaze": ("navigate", "stitch"),
    "antsoccer": ("navigate", "stitch"),
}
ORACLE = "oraclerep"
"""The part of a name that stands for oracle representations of goals."""
PIXELS = "visual-"
"""The prefix of the names of pixel tasks."""
ARMS = ("cube", "scene", "puzzle")
"""The families of tasks in which a robot arm works over a table."""


@dataclass(frozen=True)
class TaskName:
    """The parsed name of a task.

    - `full`: The full name in OGBench's spelling, such as "cube-single-play-singletask-task2-v0" or
      "cube-single-play-oraclerep-v0".
    - `environment`: The name under which the environment is registered with gymnasium, such as
      "cube-single-singletask-task2-v0" or "cube-single-v0".
    - `dataset`: The name of the dataset's file without its extension, such as "cube-single-play-v0".
    - `task`: The number of the task; None for OGBench's default task, and for a goal-conditioned task.
    - `family`: The family of tasks, such as "cube": the first word of the name, or the second for a pixel task.
    """

    full: str
    environment: str
    dataset: str
    task: int | None
    family: str

    @property
    def pixels(self) -> bool:
        """Whether observations are pixels."""
        return self.full.startswith(PIXELS)

    @property
    def goal_conditioned(self) -> bool:
        """Whether each episode has a goal, whose oracle representation is part of the observation."""
        return f"-{ORACLE}-" in self.full

    @property
    def labels(self) -> str:
        """The name of the environment that computes the rewards of the data.

        For a pixel task, this is the environment of the same task without pixels.
        """
        return self.environment.removeprefix(PIXELS)

    @property
    def plane(self) -> tuple[int, int]:
        """The indices of the two horizontal coordinates of the body, or of the arm's gripper, in an observation."""
        return (12, 13) if self.family in ARMS else (0, 1)


_PATTERN = re.compile(
    rf"(?P<stem>[a-z0-9-]+)-(?P<kind>[a-z]+)-({ORACLE}|(?P<single>singletask(-task(?P<task>\d+))?))-(?P<version>v\d+)"
)
_GOAL_CONDITIONED = re.compile(
    rf"(?P<stem>[a-z0-9-]+?)(-(play|noisy|navigate|stitch|explore))?(-{ORACLE})?-(?P<version>v\d+)"
)


def task_name(name: str) -> TaskName:
    """Parses the name of a task; needs OGBench.

    **Raises** `ValueError` for an unknown name, and for that of a goal-conditioned task or dataset with pixels or
    without oracle representations of goals; the message suggests similar names.
    """
    match = _PATTERN.fullmatch(name)
    if match is None or name not in task_names():
        raise ValueError(
            "`env_name` must be the name of a single task of OGBench, which contains '-singletask', or of a goal-conditioned "
            f"task without pixels, which contains '-{ORACLE}'; got {name!r}{_kind_of(name)}.{_suggestions(name)}"
        )
    stem, kind, single, version = match["stem"], match["kind"], match["single"], match["version"]
    environment = f"{stem}-{single}-{version}" if single else f"{stem}-{version}"
    task = int(match["task"]) if match["task"] else None
    return TaskName(name, environment, f"{stem}-{kind}-{version}", task, _family(stem))


def task_names() -> list[str]:
    """Returns the names of all tasks that `load` accepts; needs OGBench."""
    names = []
    for environment in registered_environments():
        stem, single, ending = environment.partition("-singletask")
        if not single:
            stem, _, ending = environment.rpartition("-")
        if single or not environment.startswith(PIXELS):
            kinds = DATASET_KINDS.get(_family(stem), ())
            names += [f"{stem}-{kind}{single or f'-{ORACLE}-'}{ending}" for kind in kinds]
    return names


def _family(stem: str) -> str:
    return stem.removeprefix(PIXELS).split("-")[0]


def _kind_of(name: str) -> str:
    goals = _GOAL_CONDITIONED.fullmatch(name)
    if goals is None or f"{goals['stem']}-{goals['version']}" not in registered_environments():
        return ""
    return ", which is goal-conditioned"


def _suggestions(name: str) -> str:
    stem = name.removesuffix("-v0").removesuffix(f"-{ORACLE}")
    known, spellings = task_names(), (name, f"{stem}-singletask-v0", f"{stem}-{ORACLE}-v0")
    near = [match for spelling in spellings for match in difflib.get_close_matches(spelling, known, n=3, cutoff=0.7)]
    if not near:
        return " A valid name is 'cube-single-play-singletask-v0'."
    return f" Similar names: {', '.join(dict.fromkeys(near))}."
