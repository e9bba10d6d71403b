"""The command line of a recipe."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from dataclasses import fields

from floqzoo.learner.compilation_cache import use_compilation_cache
from floqzoo.learner.devices import join_processes
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.recipe import Recipe
from floqzoo.training.cli_errors import errors_explained
from floqzoo.training.prepared_run import prepare, run_and_report


def parse_arguments(recipe: Recipe, arguments: Sequence[str]) -> RunConfig:
    """Parses the command-line arguments of a recipe into the settings of a run.

    `--preset` and `--env_name` (alias `--task`) choose the defaults; all other flags override them. Flag names accept
    `_` or `-`, and take their value after `=` or a space.

    **Raises** `ValueError` for an unknown preset or a flag without its `agent.`, and whatever the preset or the recipe's
    `check` raises; exits with status 2 for an unknown flag or a value of the wrong type, and with 0 after `--help`.
    """
    import tyro

    chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chooser.add_argument("--preset", default="default")
    chosen, rest = chooser.parse_known_args(arguments)
    chooser.add_argument("--env_name", "--env-name", "--task", dest="env_name")
    (named, rest) = chooser.parse_known_args(rest)
    config = _preset(recipe, chosen.preset)(named.env_name)
    _require_full_names(rest, config)
    parsed = tyro.cli(
        RunConfig[type(config.agent)],
        args=rest if named.env_name is None else [*rest, f"--env_name={named.env_name}"],
        default=config,
        description=_description(recipe, chosen.preset),
        use_underscores=True,
        # As in fql's commands a switch has a value: --agent.normalize_q_loss=True.
        config=(tyro.conf.FlagConversionOff,),
    )
    recipe.check(parsed)
    return parsed


def _require_full_names(words: Sequence[str], config: RunConfig) -> None:
    """**Raises** `ValueError` for a setting of the method without `agent.`, or one of the run with it."""
    settings, run = ({field.name for field in fields(part)} for part in (config.agent, config))
    for word in words:
        flag = word.partition("=")[0].replace("-", "_").removeprefix("__")
        name = flag.removeprefix("agent.")
        if not word.startswith("--") or flag in run or (flag != name and name in settings):
            continue
        if name in settings or name in run:
            known = f"agent.{name}" if name in settings else name
            raise ValueError(f"there is no flag --{flag}; did you mean --{known}?")


def _preset(recipe: Recipe, name: str):
    if name not in recipe.presets:
        near = difflib.get_close_matches(name, recipe.presets, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise ValueError(f"`preset` must be one of {', '.join(recipe.presets)}; got {name!r}{hint}")
    return recipe.presets[name]


def _description(recipe: Recipe, chosen: str) -> str:
    lines = [f"Trains and evaluates {recipe.name}.", "", "presets (--preset NAME), each a set of defaults:"]
    for name, preset in recipe.presets.items():
        summary = (preset.__doc__ or "").strip().split("\n")[0]
        lines.append(f"  {name}: {summary}")
    return "\n".join([*lines, "", f"The defaults below are those of the preset {chosen!r}."])


def run_recipe(recipe: Recipe) -> None:
    """Runs a recipe from the command line: data, training, evaluation, a table and a figure.

    Exits with status 2 for invalid input, and otherwise as `floqzoo.training.prepared_run.run_and_report` does.
    """
    with errors_explained():
        join_processes()
        config = parse_arguments(recipe, sys.argv[1:])
        use_compilation_cache(config.compilation_cache)
        run = prepare(recipe, config)
    run_and_report(run)
