"""The datasets that OGBench's scripts can generate, with the settings of OGBench's published commands."""

import difflib
from dataclasses import replace

from floqzoo.tasks.manipulation import ManipulationScript
from floqzoo.tasks.maze import MazeScript
from floqzoo.tasks.names import PIXELS


def _cube(
    cubes: str, episodes: int, stacking: tuple[float, float], kinds: tuple[str, ...] = ("play", "noisy")
) -> list[ManipulationScript]:
    return [
        ManipulationScript(
            name=f"cube-{cubes}-{kind}-v0",
            environment=f"cube-{cubes}-v0",
            episodes=episodes,
            steps=1001,
            planned=kind == "play",
            stacking=stacking,
            random_actions=0.0 if kind == "play" else 0.1,
            gripper_closed=False,
            cubes_in_view=False,
        )
        for kind in kinds
    ]


def _scene() -> list[ManipulationScript]:
    return [
        ManipulationScript(
            name=f"scene-{kind}-v0",
            environment="scene-v0",
            episodes=1000,
            steps=1001,
            planned=kind == "play",
            stacking=(0.5, 0.5),
            random_actions=0.0 if kind == "play" else 0.1,
            gripper_closed=False,
            cubes_in_view=True,
        )
        for kind in ("play", "noisy")
    ]


def _puzzle(board: str, episodes: int) -> list[ManipulationScript]:
    return [
        ManipulationScript(
            name=f"puzzle-{board}-{kind}-v0",
            environment=f"puzzle-{board}-v0",
            episodes=episodes,
            steps=1001,
            planned=kind == "play",
            stacking=(0.5, 0.5),
            random_actions=0.0 if kind == "play" else 0.2,
            gripper_closed=True,
            cubes_in_view=False,
        )
        for kind in ("play", "noisy")
    ]


def _pointmaze(maze: str, navigate: tuple[int, int]) -> list[MazeScript]:
    environment, (episodes, steps) = f"pointmaze-{maze}-v0", navigate
    return [
        MazeScript(f"pointmaze-{maze}-navigate-v0", environment, episodes, steps, stitch=False),
        MazeScript(f"pointmaze-{maze}-stitch-v0", environment, episodes=5000, steps=201, stitch=True),
    ]


STATE_SCRIPTS: tuple[ManipulationScript | MazeScript, ...] = (
    *_cube("single", 1000, (0.0, 0.0)),
    *_cube("double", 1000, (0.0, 0.25)),
    *_cube("triple", 3000, (0.05, 0.35)),
    *_cube("quadruple", 5000, (0.1, 0.5)),
    # One of the many files of the only published dataset, by the command of SHARSA's authors.
    *_cube("octuple", 1000, (0.0, 0.35), kinds=("play",)),
    *_scene(),
    *_puzzle("3x3", 1000),
    *_puzzle("4x4", 1000),
    *_puzzle("4x5", 3000),
    *_puzzle("4x6", 5000),
    *_pointmaze("medium", (1000, 1001)),
    *_pointmaze("large", (1000, 1001)),
    *_pointmaze("giant", (500, 2001)),
    *_pointmaze("teleport", (1000, 1001)),
)
SCRIPTS: tuple[ManipulationScript | MazeScript, ...] = (
    *STATE_SCRIPTS,
    *(
        replace(script, name=f"{PIXELS}{script.name}", environment=f"{PIXELS}{script.environment}")
        for script in STATE_SCRIPTS
        if "octuple" not in script.name  # OGBench has no cube-octuple with pixels
    ),
)

EXPERT_FAMILIES = ("antmaze", "humanoidmaze", "antsoccer")


def find_script(name: str) -> ManipulationScript | MazeScript:
    """Returns the script that generates the dataset with the given name.

    **Raises** `ValueError` if the name is unknown, or if collecting the dataset requires expert policies.
    """
    scripts = {script.name: script for script in SCRIPTS}
    if name in scripts:
        return scripts[name]
    if name.removeprefix(PIXELS).startswith(EXPERT_FAMILIES):
        raise ValueError(
            f"`name` is {name!r}, a locomotion dataset. OGBench generated these with expert policies, which must "
            "first be trained by reinforcement learning, so they cannot be collected. Use OGBench's own files."
        )
    near = difflib.get_close_matches(name, scripts, n=3, cutoff=0.6)
    hint = f"Similar names: {', '.join(near)}." if near else f"The known names are {', '.join(scripts)}."
    raise ValueError(f"`name` is {name!r}, which no script generates. {hint}")
