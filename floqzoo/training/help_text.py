"""The help of a recipe: `--help` shows the presets and the common flags, `--help-all` shows every flag."""

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.recipe import Recipe


GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "task and data": (
            "env_name",
            "collect_episodes",
            "collect_workers",
            "dataset_path",
            "dataset_replace_interval",
            "dataset_episodes",
            "dataset_dir",
            "success_timing",
            "sparse_rewards",
            "frame_stack",
            "p_aug",
        ),
        "training": ("offline_steps", "seed", "seeds", "precision", "normalize_observations", "start_from"),
        "online fine-tuning": (
            "online_steps",
            "online_environments",
            "online_processes",
            "online_start",
            "utd_ratio",
            "balanced_sampling",
            "buffer_size",
        ),
        "evaluation": ("eval_interval", "eval_episodes", "eval_workers", "best_metric"),
        "output": (
            "run_group",
            "save_dir",
            "log_interval",
            "save_interval",
            "keep_checkpoints",
            "tensorboard",
            "wandb",
            "compilation_cache",
        ),
    }
)
"""All flags of a run by topic, except the settings of the method."""

COMMON = frozenset(
    {
        "env_name",
        "collect_episodes",
        "offline_steps",
        "seed",
        "seeds",
        "precision",
        "normalize_observations",
        "online_steps",
        "eval_interval",
        "eval_episodes",
        "run_group",
        "save_dir",
        "wandb",
    }
)
"""The flags that `--help` shows."""

WIDTH = 80
COLUMN = 27


def short_help(recipe: Recipe, preset: str, config: RunConfig, program: str) -> str:
    """Returns the text of `--help`: the presets, then the common flags and the method's settings, with their values."""
    docs, lines = field_docs(RunConfig), _introduction(recipe, preset, program)
    for title, group in GROUPS.items():
        lines.append(f"{title}:")
        for name in group:
            if name in COMMON:
                first = docs[name].split(";")[0].rstrip(".")
                lines += _flag_lines(f"--{name}={_shown(getattr(config, name))}", f"{first}.")
    settings = [f"{field.name}={_shown(getattr(config.agent, field.name))}" for field in _flags(config.agent)]
    lines += [
        "settings of the method (--agent.NAME=VALUE; for (64, 64), --agent.NAME 64 64):",
        *_wrapped(" ".join(settings), "  "),
    ]
    return "\n".join([*lines, "", "--help-all describes every flag."])


def full_help(recipe: Recipe, preset: str, config: RunConfig, program: str) -> str:
    """Returns the text of `--help-all`: the presets, then all flags with their descriptions and values."""
    lines = _introduction(recipe, preset, program)
    groups = {title: [(config, "", name) for name in group] for title, group in GROUPS.items()}
    groups["method"] = [(config.agent, "agent.", field.name) for field in _flags(config.agent)]
    for title, flags in groups.items():
        lines.append(f"{title}:")
        for settings, prefix, name in flags:
            kind, doc = get_type_hints(type(settings))[name], field_docs(type(settings)).get(name, "")
            value = _shown(getattr(settings, name))
            lines += _flag_lines(f"--{prefix}{name} {_metavar(kind)}", f"{doc} (default: {value})".lstrip())
        lines.append("")
    return "\n".join(lines[:-1])


@cache
def field_docs(settings: type) -> dict[str, str]:
    """Returns the docstring below each field of a dataclass as one line, by field name.

    Fields of the parent classes are included. Classes whose source code is not available are skipped.
    """
    docs: dict[str, str] = {}
    for base in reversed(settings.__mro__[:-1]):
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        except (OSError, TypeError):
            continue
        statements = getattr(body, "body", [])
        for field, doc in pairwise(statements):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(doc, ast.Expr):
                docs[field.target.id] = " ".join(str(ast.literal_eval(doc.value)).split())
    return docs


def _flags(settings: Any) -> list[dataclasses.Field]:
    return [field for field in dataclasses.fields(settings) if field.init]


def _introduction(recipe: Recipe, preset: str, program: str) -> list[str]:
    lines = [f"usage: {program} [--preset NAME] [--FLAG=VALUE ...]", ""]
    lines += [f"Trains and evaluates {recipe.name}. Presets (--preset), which flags override:"]
    for name, function in recipe.presets.items():
        summary = (function.__doc__ or "").strip().split("\n")[0]
        lines += _wrapped(f"{name}: {summary}", "  ", "      ")
    return [*lines, "", f"The values below are those of the preset {preset!r}.", ""]


def _flag_lines(flag: str, text: str) -> list[str]:
    head, lines = f"  {flag} ", _wrapped(text, " " * COLUMN)
    if len(head) <= COLUMN:
        return [head.ljust(COLUMN) + lines[0][COLUMN:], *lines[1:]]
    return [head.rstrip(), *lines]


def _metavar(kind: Any) -> str:
    arguments = [argument for argument in get_args(kind) if argument not in (NoneType, ...)]
    if get_origin(kind) is Literal:
        return f"{{{','.join(map(str, arguments))}}}"
    if get_origin(kind) in (Union, UnionType):
        return "|".join(_metavar(argument) for argument in arguments)
    if get_origin(kind) is tuple:
        return f"{_metavar(arguments[0])}..."
    return {bool: "BOOL", int: "INT", float: "FLOAT", str: "STR"}.get(kind, "VALUE")


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    return repr(value) if value == "" else str(value)


def _wrapped(text: str, first: str, rest: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_on_hyphens=False,
        break_long_words=False,
    )
