"""The one door to OGBench, gymnasium and MuJoCo, which are imported when they are needed and not before."""

import importlib
import importlib.util
import warnings
from typing import Any


def require_ogbench() -> None:
    """Raises `ModuleNotFoundError`, with the command that helps, where OGBench is not installed."""
    if importlib.util.find_spec("ogbench") is None:
        raise ModuleNotFoundError("OGBench is not installed: pip install 'floqzoo[ogbench]'.")


def registered_environments() -> list[str]:
    """The names of OGBench's environments, as gymnasium registers them."""
    registry = ogbench_module("gymnasium").registry
    return [name for name, entry in registry.items() if str(entry.entry_point).startswith("ogbench.")]


def make(environment: str, **settings: Any) -> Any:
    """Makes one of OGBench's environments, without gymnasium's own check of it.

    Silences two warnings from here on: OGBench's robot arm builds its action space anew at every use, from float64
    bounds, and each time gymnasium would say that it makes them float32; and MuJoCo's viewer misses a display, though
    nothing is drawn.
    """
    warnings.filterwarnings("ignore", message=".*Box (low|high)'s precision lowered by casting")
    warnings.filterwarnings("ignore", message=".*DISPLAY environment variable is missing")
    return ogbench_module("gymnasium").make(environment, disable_env_checker=True, **settings)


def ogbench_module(module: str) -> Any:
    """Imports OGBench, and from it or from what it needs the module of this name.

    What the libraries have to say about a missing display is left out: nothing is drawn.
    """
    require_ogbench()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("ogbench")
        return importlib.import_module(module)
