"""Creates OGBench's environments. OGBench, gymnasium and MuJoCo are imported only when they are needed."""

import importlib
import importlib.util
import warnings
from contextlib import nullcontext
from typing import Any

import numpy as np

from floqzoo.tasks.episodes import seeded
from floqzoo.tasks.renderer import rendering_limited, require_renderer


def require_ogbench() -> None:
    """Checks that OGBench is installed.

    **Raises** `ModuleNotFoundError` otherwise; the message contains the command that installs it.
    """
    if importlib.util.find_spec("ogbench") is None:
        raise ModuleNotFoundError("OGBench is not installed: pip install 'floqzoo[ogbench]'.")


def registered_environments() -> list[str]:
    """Returns the names under which OGBench's environments are registered with gymnasium."""
    registry = ogbench_module("gymnasium").registry
    return [name for name, entry in registry.items() if str(entry.entry_point).startswith("ogbench.")]


def make(environment: str, *, sparse_rewards: bool = False, **settings: Any) -> Any:
    """Creates an OGBench environment, without gymnasium's environment checker.

    If observations are pixels, the creation of the environment, each step and each reset have a time limit, because a
    renderer can hang; see `rendering_limited`.

    - `environment`: The name under which it is registered with gymnasium.
    - `sparse_rewards`: Whether rewards are replaced by `sparse`.
    - `settings`: Settings of OGBench's environment.

    This permanently disables two warnings. Gymnasium warns that the float64 action bounds of OGBench's robot arm lose
    precision when they are cast to float32, and repeats this warning on every access to the action space. MuJoCo's
    viewer warns about a missing display, but no display is needed.
    """
    warnings.filterwarnings("ignore", message=".*Box (low|high)'s precision lowered by casting")
    warnings.filterwarnings("ignore", message=".*DISPLAY environment variable is missing")
    pixels = environment.startswith("visual-")
    with rendering_limited() if pixels else nullcontext():
        made = ogbench_module("gymnasium").make(environment, disable_env_checker=True, **settings)
        if environment.startswith("visual-pointmaze-"):
            _cast_smaller_shadows(made.unwrapped)
    if sparse_rewards:
        made = ogbench_module("gymnasium.wrappers").TransformReward(made, sparse)
    return limited(made) if pixels else made


def sparse(rewards: Any) -> Any:
    """Returns the sparse form of OGBench's single-task rewards: 0 where all parts of the goal are met, and -1 elsewhere.

    - `rewards`: Minus the number of parts of the goal that are not met, as a number or an array.

    Source: the official code of QC (arXiv 2507.07969), `--sparse`.
    """
    return np.where(np.equal(rewards, 0), np.float32(0), np.float32(-1))[()]  # a number stays a number


def _cast_smaller_shadows(maze: Any) -> None:
    """Uses a smaller shadow map: the images are the same, and without a GPU rendering takes a third of the time."""
    maze.model.vis.quality.shadowsize = 1024
    maze.custom_renderer.close()
    maze.initialize_renderer()


def make_with_goals(environment: str, *, sparse_rewards: bool = False, **settings: Any) -> Any:
    """Creates a goal-conditioned OGBench environment whose observations end with the goal.

    An observation contains the state, followed by the oracle representation of the episode's goal. Each reset draws one
    of the tasks of the environment. The reward is 0 at the goal and -1 elsewhere, as in
    [`GoalDataset`][floqzoo.tasks.GoalDataset]; OGBench's is 1 and 0.

    - `environment`, `settings`: As in `make`.
    - `sparse_rewards`: Must be False, since these rewards are sparse already.

    **Raises** `ValueError` if `sparse_rewards` is True.
    """
    if sparse_rewards:
        raise ValueError(
            f"`sparse_rewards` must be False for {environment} with goals, whose rewards are sparse already."
        )
    gymnasium = ogbench_module("gymnasium")

    class WithGoals(gymnasium.Wrapper):
        def __init__(self, environment: Any):
            super().__init__(environment)
            _keep_action_space(environment.unwrapped)
            with seeded(environment, np.random.SeedSequence(0)):
                observation, _ = self.reset()
            self.unwrapped.np_random = np.random.default_rng()
            self.action_space.seed()
            self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, observation.shape, observation.dtype)

        def reset(self, **arguments: Any) -> Any:
            observation, info = self.env.reset(**arguments)
            self._goal = info["goal"]
            return np.concatenate([observation, self._goal]), info

        def step(self, action: Any) -> Any:
            observation, reward, *rest = self.env.step(action)
            return np.concatenate([observation, self._goal]), reward - 1.0, *rest

    return WithGoals(make(environment, use_oracle_rep=True, **settings))


def _keep_action_space(simulator: Any) -> None:
    """Makes a simulator return the same action space on each access, so that the space can be seeded.

    During a reset, OGBench takes random steps before it observes the goal. The environments of the robot arm sample
    these steps from a new, unseeded space.
    """
    simulator_type = type(simulator)
    attributes = {"action_space": simulator.action_space}
    simulator.__class__ = type(simulator_type.__name__, (simulator_type,), attributes)


def make_pixels(environment: str, frame_stack: int, **settings: Any) -> Any:
    """Creates an OGBench environment with pixel observations, which have the same layout as in `PixelDataset`.

    An observation is a uint8 vector that contains the latest `frame_stack` frames, oldest first. After a reset, the
    first frame is repeated. The time limits of `make` apply.

    **Raises** `OSError` if no renderer works.
    """
    require_renderer(f"{environment}, a task of pixels,")
    made = make(environment, **settings)
    wrappers = ogbench_module("gymnasium.wrappers")
    return wrappers.FlattenObservation(wrappers.FrameStackObservation(made, frame_stack, padding_type="reset"))


def limited(environment: Any) -> Any:
    """Wraps an environment so that each step and each reset has a time limit; see `rendering_limited`."""
    gymnasium = ogbench_module("gymnasium")

    class Limited(gymnasium.Wrapper):
        def reset(self, **arguments: Any) -> Any:
            with rendering_limited():
                return self.env.reset(**arguments)

        def step(self, action: Any) -> Any:
            with rendering_limited():
                return self.env.step(action)

    return Limited(environment)


def ogbench_module(module: str) -> Any:
    """Imports OGBench, then imports and returns the given module of OGBench or of one of its dependencies.

    Warnings during the import, such as those about a missing display, are suppressed.
    """
    require_ogbench()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("ogbench")
        _register_visual_pointmazes(importlib.import_module("gymnasium"))
        return importlib.import_module(module)


def _register_visual_pointmazes(gymnasium: Any) -> None:
    """Registers OGBench's point mazes with pixels, seen from above, under names like those of its other pixel tasks."""
    for name, entry in list(gymnasium.registry.items()):
        if name.startswith("pointmaze-") and f"visual-{name}" not in gymnasium.registry:
            pixels = {"ob_type": "pixels", "render_mode": "rgb_array", "width": 64, "height": 64}
            gymnasium.register(
                f"visual-{name}",
                entry_point=entry.entry_point,
                max_episode_steps=entry.max_episode_steps,
                kwargs=entry.kwargs | pixels,
            )
