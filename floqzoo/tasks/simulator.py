"""Lazy imports of OGBench, gymnasium and MuJoCo."""

import importlib
import importlib.util
import warnings
from typing import Any


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
    return ogbench_module("gymnasium").make(environment, disable_env_checker=True, **settings)


def ogbench_module(module: str) -> Any:
    """Imports OGBench, and then a module of it or of its dependencies.

    Output of the libraries about a missing display is suppressed, since nothing is drawn.
    """
    require_ogbench()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("ogbench")
        return importlib.import_module(module)
