"""The command line of a recipe."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from itertools import pairwise
from typing import get_type_hints

from floqzoo.learner.compilation_cache import use_compilation_cache
from floqzoo.learner.devices import join_processes
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.recipe import Recipe
from floqzoo.training.cli_errors import errors_explained
from floqzoo.training.help_text import full_help, short_help
from floqzoo.training.prepared_run import prepare, run_and_report


def parse_arguments(recipe: Recipe, arguments: Sequence[str]) -> RunConfig:
    """Parses the command-line arguments of a recipe into the settings of a run.

    `--preset` and `--env_name` (alias `--task`) choose the defaults, and all other flags override them. Flag names may
    be written with `_` or `-`, and a value follows its flag after `=` or a space. A boolean flag without a value is
    True, and an integer may be written as 1e6. `--help` prints the common flags, and `--help-all` prints every flag.

    **Raises** `ValueError` for an unknown preset, or for a flag that lacks the prefix `agent.` or should not have it,
    and any error that the preset or the recipe's `check` raises. Exits with status 2 for an unknown flag or a value of
    the wrong type, and with status 0 after printing help.
    """
    import tyro

    chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chooser.add_argument("--preset", default="default")
    chosen, rest = chooser.parse_known_args(arguments)
    chooser.add_argument("--env_name", "--env-name", "--task", dest="env_name")
    (named, rest) = chooser.parse_known_args(rest)
    config = _preset(recipe, chosen.preset)(named.env_name)
    for flags, help_text in ((("-h", "--help"), short_help), (("--help-all", "--help_all"), full_help)):
        if any(flag in rest for flag in flags):
            print(help_text(recipe, chosen.preset, config, sys.argv[0]))
            raise SystemExit(0)
    _require_full_names(rest, config)
    rest = _with_switches(config, rest)
    with _whole_numbers():
        parsed = tyro.cli(
            RunConfig[type(config.agent)],
            args=rest if named.env_name is None else [*rest, f"--env_name={named.env_name}"],
            default=config,
            add_help=False,
            use_underscores=True,
            # As in fql's commands a switch has a value: --agent.normalize_q_loss=True.
            config=(tyro.conf.FlagConversionOff,),
        )
    recipe.check(parsed)
    return parsed


def _require_full_names(words: Sequence[str], config: RunConfig) -> None:
    """**Raises** `ValueError` for a setting of the method without the prefix `agent.`, or one of the run with it."""
    settings, run = ({field.name for field in fields(part)} for part in (config.agent, config))
    for word in words:
        flag = word.partition("=")[0].replace("-", "_").removeprefix("__")
        name = flag.removeprefix("agent.")
        if not word.startswith("--") or flag in run or (flag != name and name in settings):
            continue
        if name in settings or name in run:
            known = f"agent.{name}" if name in settings else name
            raise ValueError(f"there is no flag --{flag}; did you mean --{known}?")


def _with_switches(config: RunConfig, arguments: Sequence[str]) -> list[str]:
    """The arguments, where a boolean flag without a value gets the value True."""
    own = {"": config, "agent.": config.agent}
    switches = {
        f"--{prefix}{name}"
        for prefix, settings in own.items()
        for name, kind in get_type_hints(type(settings)).items()
        if kind is bool
    }
    return [
        f"{word}=True" if f"--{word[2:].replace('-', '_')}" in switches and after.startswith("--") else word
        for word, after in pairwise([*arguments, "--"])
    ]


def _whole_numbers() -> AbstractContextManager:
    """A context in which tyro reads `1e6` as an integer."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    registry = ConstructorRegistry()

    @registry.primitive_rule
    def _(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
        if info.type is not int:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="INT",
            instance_from_str=lambda words: _whole_number(words[0]),
            is_instance=lambda value: type(value) is int,
            str_from_instance=lambda value: [str(value)],
        )

    return registry


def _whole_number(word: str) -> int:
    if "e" in word.lower():
        number = float(word)
        if number.is_integer():
            return int(number)
        raise ValueError(f"an integer is needed; got {word}")
    return int(word)


def _preset(recipe: Recipe, name: str):
    if name not in recipe.presets:
        near = difflib.get_close_matches(name, recipe.presets, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise ValueError(f"`preset` must be one of {', '.join(recipe.presets)}; got {name!r}{hint}")
    return recipe.presets[name]


def run_recipe(recipe: Recipe) -> None:
    """Runs a recipe from the command line: loads the data, trains, evaluates, prints a table and draws a figure.

    Exits with status 2 for invalid input; for all other exit statuses, see
    `floqzoo.training.prepared_run.run_and_report`.
    """
    with errors_explained():
        join_processes()
        config = parse_arguments(recipe, sys.argv[1:])
        use_compilation_cache(config.compilation_cache)
        run = prepare(recipe, config)
    run_and_report(run)
