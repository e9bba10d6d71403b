"""Expands a sweep file into trials: recipes x fields x tasks x seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from floqzoo.runs.recipe import Recipe
from floqzoo.sweeps.fields import field_kinds, read_field, with_fields
from floqzoo.sweeps.near_names import require_known
from floqzoo.sweeps.trial import Trial


_ELSEWHERE = {
    "env_name": "tasks",
    "seed": "seeds",
    "seeds": "seeds",
    "save_dir": "save_dir",
    "run_group": "name",
    "preset": "recipes",
}


@dataclass(frozen=True)
class Method:
    """A recipe of a sweep, with a preset and the fields that the sweep sets.

    - `recipe`, `source`, `preset`: As in `Trial`.
    - `given`: The fields that the sweep file sets, each with its value or with a list of alternative values.
    """

    recipe: Recipe
    source: str
    preset: str
    given: Mapping[str, Any]


def expand(
    *,
    methods: Sequence[Method],
    tasks: Sequence[str],
    seeds: Sequence[tuple[int, int]],
    name: str,
    save_dir: Path,
) -> tuple[Trial, ...]:
    """Expands methods, tasks and seeds into the trials of a sweep.

    - `seeds`: For each process, the first seed and the number of seeds.
    - `name`, `save_dir`: The name of the sweep, and the output folder; the sweep is in `<save_dir>/floqzoo/<name>`.

    **Raises** `ValueError` if a field is unknown or is set by another key of the sweep file (as `seed` is by `seeds`),
    if a value is invalid, or if two trials have the same settings.
    """
    trials = []
    for method in methods:
        alternatives = _alternatives(method)
        for chosen in product(*alternatives.values()):
            values = dict(zip(alternatives, chosen, strict=True))
            swept = [name for name, many in alternatives.items() if len(many) > 1 or _differs(name, method, methods)]
            label = _label(method, {name: values[name] for name in swept})
            for task, (first, count) in product(tasks, seeds):
                places = {"seed": first, "seeds": count, "run_group": name, "save_dir": str(save_dir)}
                config = _config(method, label, task, {**values, **places})
                folder = save_dir / "floqzoo" / name
                trials.append(Trial(method.recipe, method.source, method.preset, values, config, label, folder))
    _refuse_duplicates(trials)
    return tuple(trials)


def _alternatives(method: Method) -> dict[str, list[Any]]:
    """The values that each field of a method takes."""
    kinds = field_kinds(method.recipe.presets[method.preset](None))
    return {name: _values(method, name, kinds, given) for name, given in method.given.items()}


def _differs(name: str, method: Method, methods: Sequence[Method]) -> bool:
    """Whether another entry of the sweep file for the same recipe and preset gives a field another value."""
    same = (other for other in methods if (other.source, other.preset) == (method.source, method.preset))
    return any(other.given.get(name) != method.given[name] for other in same)


def _values(method: Method, name: Any, kinds: Mapping[str, Any], given: Any) -> list[Any]:
    if name in _ELSEWHERE:
        raise ValueError(f"`{name}` is not a field of a sweep: it is set by `{_ELSEWHERE[name]}`.")
    require_known(f"{method.recipe.name} has no field", name, [kind for kind in kinds if kind not in _ELSEWHERE])
    if isinstance(given, list) and not given:
        raise ValueError(f"`{name}` must not be an empty list.")
    values = [read_field(name, kinds[name], value) for value in (given if isinstance(given, list) else [given])]
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"`{name}` must list each value once; {value!r} appears twice.")
    return values


def _config(method: Method, label: str, task: str, values: Mapping[str, Any]) -> Any:
    try:
        config = with_fields(method.recipe.presets[method.preset](task), values)
        method.recipe.check(config)
        return config
    except ValueError as error:
        raise ValueError(f"{label} on {task}: {error}") from error


def _label(method: Method, swept: Mapping[str, Any]) -> str:
    preset = [] if method.preset == "default" else [method.preset]
    values = [f"{name.removeprefix('agent.')}={_short(value)}" for name, value in swept.items()]
    return " ".join([method.recipe.name, *preset, *values])


def _short(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _refuse_duplicates(trials: Sequence[Trial]) -> None:
    """Raises `ValueError` if two trials have the same settings, even with different labels."""
    seen: dict[tuple[str, int], Trial] = {}
    for trial in trials:
        other = seen.setdefault((trial.identity, trial.config.seed), trial)
        if other is not trial:
            raise ValueError(f"two trials have the same settings: {trial} and {other}.")
