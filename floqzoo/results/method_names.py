"""Names the methods of several runs, so that the seeds of runs of the same method can be pooled."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from floqzoo.results.find_runs import setting
from floqzoo.runs.recipe import find_recipe
from floqzoo.runs.stored_run import StoredRun
from floqzoo.tasks.own_task import task_label


def method_names(runs: Sequence[StoredRun], distinguishing: Sequence[str] = ()) -> list[str]:
    """Returns a name for the method of each run: the recipe, and any settings that distinguish runs of this recipe.

    If runs of a recipe on the same task differ in a setting, the setting is part of the name, unless its value is the
    recipe's default for the task. For example, two runs of floq on cube-single with `alpha` 300 (the published value)
    and 10 are named "floq" and "floq alpha=10.0". If `alpha` only differs between tasks, all runs are named "floq".

    - `distinguishing`: Run settings that distinguish methods, such as "precision", in addition to the settings of the
      agent and `normalize_observations`.
    """
    names = []
    for run in runs:
        settings, default = _settings(run, distinguishing), _default(run, distinguishing)
        apart = [
            f"{key}={_short(value)}"
            for key, value in settings.items()
            if _differs(key, run.recipe_name, runs, distinguishing)
            and (key not in default or _plain(default[key]) != value)
        ]
        names.append(" ".join([run.recipe_name, *apart]))
    return names


_NORMALISED = "normalize_observations"


def _settings(run: StoredRun, distinguishing: Sequence[str]) -> Mapping[str, Any]:
    # A run of an earlier version does not record whether observations are normalised.
    normalised = {_NORMALISED: run.flags.get(_NORMALISED, False)}
    return {**setting(run, "agent"), **normalised, **{name: setting(run, name) for name in distinguishing}}


def _differs(key: str, recipe: str, runs: Sequence[StoredRun], distinguishing: Sequence[str]) -> bool:
    seen: dict[str, set[str]] = {}
    for run in runs:
        if run.recipe_name == recipe:
            seen.setdefault(task_label(run.env_name), set()).add(repr(_settings(run, distinguishing).get(key)))
    return any(len(values) > 1 for values in seen.values())


def _default(run: StoredRun, distinguishing: Sequence[str]) -> Mapping[str, Any]:
    """The default settings of the recipe for the run's task; empty for a recipe outside floqzoo."""
    try:
        with warnings.catch_warnings(action="ignore"):
            default = asdict(find_recipe(run.recipe_name).presets["default"](run.env_name))
            return {**default["agent"], **{name: default[name] for name in (_NORMALISED, *distinguishing)}}
    except ValueError:
        return {}


def _plain(value: Any) -> Any:
    """A value in its JSON form."""
    return list(value) if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)
