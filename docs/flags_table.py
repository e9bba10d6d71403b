"""The table of flags on the page about running, from the settings of a run."""

import dataclasses
import warnings
from pathlib import Path

from floqzoo.runs import RunConfig, find_recipe
from floqzoo.training.help_text import GROUPS, field_docs
from recipes import NAMES


BEGIN, END = "<!-- flags: written by docs/generate.py -->", "<!-- end of flags -->"
MACHINE = {"eval_workers": "usable cores - 2", "collect_workers": "cores"}
"""Defaults that depend on the machine."""


def page_with_flags(page: Path) -> str:
    """The page with its tables of flags as the code has them now."""
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{flags_tables()}\n\n{END}{after}"


def flags_tables() -> str:
    """A table for each group of flags."""
    docs, defaults = field_docs(RunConfig), _defaults()
    parts = []
    for title, names in GROUPS.items():
        rows = [f"**{title.capitalize()}**", "", "| flag | default | meaning |", "|---|---|---|"]
        rows += [f"| `--{name}` | {defaults[name]} | {docs[name].replace('|', '&#124;')} |" for name in names]
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _defaults() -> dict[str, str]:
    """The default of each flag; "the preset's" where the recipes' default presets differ."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        configs = [find_recipe(name).presets["default"](None) for name in NAMES]
    shown = {}
    for field in dataclasses.fields(RunConfig):
        values = {repr(getattr(config, field.name)) for config in configs} if field.name != "agent" else set()
        if field.name in MACHINE:
            shown[field.name] = MACHINE[field.name]
        elif len(values) == 1:
            shown[field.name] = _readable(getattr(configs[0], field.name))
        else:
            shown[field.name] = "the preset's"
    return shown


def _readable(value: object) -> str:
    if value is None or value == "":
        return "none"
    return f"{value:,}" if type(value) is int else f"`{value}`"
