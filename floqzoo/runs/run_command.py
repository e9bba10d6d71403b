"""Formats the command lines that messages suggest for a run."""

import importlib
import shlex
from pathlib import Path

from floqzoo.runs.recipe import Recipe
from floqzoo.tasks.files import read_json
from floqzoo.tasks.own_code import own_modules
from floqzoo.tasks.own_task import is_reference


def run_command(
    command: str, directory: str | Path, *, recipe: str | Path | None = None, task: str | None = None
) -> str:
    """Returns the command line of `floqzoo COMMAND` for a run, with `--recipe` and `--task` if the run needs them.

    - `command`: The subcommand, such as `resume`.
    - `directory`: The folder of the run.
    - `recipe`: The file of your own recipe; by default the one that this process has executed.
    - `task`: The location of your own task, `FILE.py:NAME` or `MODULE:NAME`; by default the one in `flags.json`.
    """
    directory = Path(directory).expanduser()
    words, path = ["floqzoo", command, str(directory)], directory / "flags.json"
    flags = read_json(path) if path.exists() else {}
    recipe = recipe or (_recipe_file(flags["recipe"]) if flags else None)
    env_name = task or flags.get("env_name", "")
    words += ["--recipe", str(recipe)] if recipe else []
    words += ["--task", env_name] if is_reference(env_name) else []
    return shlex.join(words)


def _recipe_file(name: str) -> str | None:
    """The file of your own recipe, or FILE.py if this process has not executed it; None for a recipe of floqzoo."""
    recipes = importlib.import_module("recipes")
    for module in own_modules():
        recipe, file = getattr(module, "RECIPE", None), Path(getattr(module, "__file__", None) or "")
        if isinstance(recipe, Recipe) and recipe.name == name and file.parent != Path(recipes.__file__ or "").parent:
            return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)
    return None if name in recipes.NAMES else "FILE.py"
