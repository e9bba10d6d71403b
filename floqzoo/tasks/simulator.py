"""Lazy imports of OGBench, gymnasium and MuJoCo."""

import importlib
import importlib.util
import warnings
from typing import Any

from floqzoo.tasks.renderer import rendering_limited, require_renderer


def require_ogbench() -> None:
    """Raises `ModuleNotFoundError`, with the command that installs it, if OGBench is not installed."""
    if importlib.util.find_spec("ogbench") is None:
        raise ModuleNotFoundError("OGBench is not installed: pip install 'floqzoo[ogbench]'.")


def registered_environments() -> list[str]:
    """The names of OGBench's environments, as gymnasium registers them."""
    registry = ogbench_module("gymnasium").registry
    return [name for name, entry in registry.items() if str(entry.entry_point).startswith("ogbench.")]


def make(environment: str, **settings: Any) -> Any:
    """Creates an environment of OGBench, without gymnasium's environment checker.

    Two warnings are disabled permanently: OGBench's robot arm creates its action space at every access from float64
    bounds, and gymnasium warns each time that it casts them to float32; and MuJoCo's viewer warns about a missing
    display, though nothing is drawn.
    """
    warnings.filterwarnings("ignore", message=".*Box (low|high)'s precision lowered by casting")
    warnings.filterwarnings("ignore", message=".*DISPLAY environment variable is missing")
    made = ogbench_module("gymnasium").make(environment, disable_env_checker=True, **settings)
    if environment.startswith("visual-pointmaze-"):
        _cast_smaller_shadows(made.unwrapped)
    return made


def _cast_smaller_shadows(maze: Any) -> None:
    """Uses a smaller shadow map: the images are the same, and without a GPU rendering takes a third of the time."""
    maze.model.vis.quality.shadowsize = 1024
    maze.custom_renderer.close()
    maze.initialize_renderer()


def make_pixels(environment: str, frame_stack: int, **settings: Any) -> Any:
    """Creates an environment of OGBench whose observations are pixels, as in `PixelDataset`.

    An observation is a vector of bytes, the latest `frame_stack` frames, the oldest first; at a reset the first frame is
    repeated. In a process that `multiprocessing` started, a step that takes more than ten minutes ends the process.

    **Raises** `OSError` if no renderer works.
    """
    require_renderer(f"{environment}, a task of pixels,")
    wrappers = ogbench_module("gymnasium.wrappers")
    stacked = wrappers.FrameStackObservation(make(environment, **settings), frame_stack, padding_type="reset")
    return limited(wrappers.FlattenObservation(stacked))


def limited(environment: Any) -> Any:
    """The same environment, with a limit on the time of a step and of a reset; see `rendering_limited`."""
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
    """Imports OGBench, and then a module of it or of its dependencies.

    Output of the libraries about a missing display is suppressed, since nothing is drawn.
    """
    require_ogbench()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("ogbench")
        _register_visual_pointmazes(importlib.import_module("gymnasium"))
        return importlib.import_module(module)


def _register_visual_pointmazes(gymnasium: Any) -> None:
    """Registers the pixel mode of OGBench's point mass under the names of its other pixel tasks, seen from above."""
    for name, entry in list(gymnasium.registry.items()):
        if name.startswith("pointmaze-") and f"visual-{name}" not in gymnasium.registry:
            pixels = {"ob_type": "pixels", "render_mode": "rgb_array", "width": 64, "height": 64}
            gymnasium.register(
                f"visual-{name}",
                entry_point=entry.entry_point,
                max_episode_steps=entry.max_episode_steps,
                kwargs=entry.kwargs | pixels,
            )
