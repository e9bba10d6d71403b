"""Reads sweep files, and validates each file completely before any trial starts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from floqzoo.runs.recipe import Recipe, find_recipe, load_recipe
from floqzoo.sweeps.expansion import Method, expand
from floqzoo.sweeps.fields import read_field
from floqzoo.sweeps.near_names import require_known
from floqzoo.sweeps.sweep import Resources, Sweep
from floqzoo.sweeps.tasks import named_tasks
from floqzoo.sweeps.yaml_file import read_yaml


PUBLISHED = Path(__file__).parent / "published"
_KEYS = {
    "name": str,
    "recipes": list,
    "tasks": list,
    "seeds": int | list[int],
    "seeds_at_once": int | None,
    "fields": dict,
    "resources": dict,
    "restarts": int,
    "save_dir": str,
    "slurm": dict,
}


def published_sweeps() -> list[str]:
    """Returns the names of the sweeps that come with floqzoo."""
    return sorted(path.stem for path in PUBLISHED.glob("*.yaml"))


def find_sweep(name: str | Path) -> Path:
    """Returns the path of a sweep file, given this path or the name of a published sweep.

    **Raises** `FileNotFoundError` if there is no such file or published sweep; for an unknown name, the message
    suggests similar names.
    """
    if Path(name).expanduser().is_file():
        return Path(name).expanduser()
    if Path(name).suffix in (".yaml", ".yml"):
        raise FileNotFoundError(f"there is no file {name}.")
    try:
        require_known("there is no sweep file and no published sweep", str(name), published_sweeps())
    except ValueError as error:
        raise FileNotFoundError(str(error)) from None
    return PUBLISHED / f"{name}.yaml"


def read_sweep(name: str | Path, *, save_dir: str | Path | None = None) -> Sweep:
    """Reads a sweep file and validates all its trials, without starting or writing anything.

    If a recipe is given as a Python file, this file is executed.

    - `name`: The path of the sweep file, or the name of a published sweep.
    - `save_dir`: The output folder, which overrides the `save_dir` in the file; None keeps the file's.

    **Raises** `FileNotFoundError` if there is no such file; `ValueError` for an unknown recipe, preset, task or field
    (the message suggests similar names), a value of the wrong type, an empty list, a field that is set twice, or a
    duplicate trial; `ModuleNotFoundError` if PyYAML is not installed, or if OGBench is not installed and a task is one
    of OGBench's.
    """
    path = find_sweep(name)
    content = {"name": path.stem, **read_yaml(path)}
    try:
        return sweep_of(content, folder=path.parent, save_dir=save_dir)
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"{path}: {error}") from error


def sweep_of(content: Mapping[str, Any], *, folder: Path = Path(), save_dir: str | Path | None = None) -> Sweep:
    """Validates the contents of a sweep file, and returns the sweep.

    - `content`: The contents; `name` is required.
    - `folder`: The folder to which paths in the contents are relative.
    - `save_dir`: As in `read_sweep`.

    **Raises** `ValueError` if the contents are invalid, and the same errors as `read_sweep`, except those of reading the
    file.
    """
    content = {"save_dir": "exp", **content}
    for key in content:
        require_known("a sweep file has no key", key, _KEYS)
    for key in ("name", "recipes", "tasks"):
        if key not in content:
            raise ValueError(f"`{key}` is required, but missing.")
    given = {key: _checked(key, value) for key, value in content.items()}
    if not re.fullmatch(r"\w[\w.-]*", given["name"]):
        raise ValueError(
            f"`name` must consist of letters, digits, '_', '-' and '.', and not start with '-' or '.'; got {given['name']!r}."
        )
    where = Path(given["save_dir"] if save_dir is None else save_dir).expanduser().absolute()
    common = given.get("fields", {})
    return Sweep(
        name=given["name"],
        folder=where / "floqzoo" / given["name"],
        trials=expand(
            methods=[_method(entry, folder, common) for entry in given["recipes"]],
            tasks=named_tasks(given["tasks"], folder),
            seeds=_packed(_seeds(given.get("seeds", 1)), given.get("seeds_at_once")),
            name=given["name"],
            save_dir=where,
        ),
        resources=_resources(given.get("resources", {})),
        restarts=_at_least("restarts", given.get("restarts", 3), 0),
        slurm=given.get("slurm", {}),
    )


def _checked(key: str, value: Any) -> Any:
    kind = _KEYS[key]
    if kind in (list, dict):
        if not isinstance(value, kind):
            raise ValueError(f"`{key}` must be a {'list' if kind is list else 'mapping'}; got {value!r}.")
        if not value:
            raise ValueError(f"`{key}` must not be empty.")
        return value
    if isinstance(value, list):
        if not value or any(type(item) is not int for item in value):
            raise ValueError(f"`{key}` must be an integer or a list of integers; got {value!r}.")
        return value
    return read_field(key, kind, value)


def _method(entry: Any, folder: Path, common: dict[str, Any]) -> Method:
    """Reads an entry of `recipes`: a name, or a mapping with the keys `recipe`, `preset` and `fields`."""
    entry = entry if isinstance(entry, dict) else {"recipe": entry}
    for key in entry:
        require_known("a recipe has no key", key, ("recipe", "preset", "fields"))
    source, preset, own = entry.get("recipe"), entry.get("preset", "default"), entry.get("fields", {})
    if not isinstance(source, str):
        raise ValueError(f"`recipe` must be the name of a recipe; got {source!r}.")
    if not isinstance(own, dict):
        raise ValueError(f"`fields` of {source} must be a mapping; got {own!r}.")
    twice = sorted({*common} & {*own})
    if twice:
        raise ValueError(f"`{twice[0]}` is set twice for {source}: for all recipes, and for this recipe.")
    recipe, source = _recipe(source, folder)
    require_known(f"{recipe.name} has no preset", preset, recipe.presets)
    return Method(recipe, source, preset, {**common, **own})


def _recipe(source: str, folder: Path) -> tuple[Recipe, str]:
    if not source.endswith(".py"):
        return find_recipe(source), source
    file = (folder / Path(source).expanduser()).absolute()
    return load_recipe(file), str(file)


def _seeds(given: int | list[int]) -> list[int]:
    """The seeds in ascending order; a number n means the seeds 0 to n - 1."""
    seeds = list(range(_at_least("seeds", given, 1))) if isinstance(given, int) else sorted(given)
    for seed in seeds:
        _at_least("seeds", seed, 0)
        if seeds.count(seed) > 1:
            raise ValueError(f"`seeds` must list each seed once; {seed} appears twice.")
    return seeds


def _packed(seeds: Sequence[int], at_once: int | None) -> list[tuple[int, int]]:
    """Groups consecutive seeds; returns the first seed and the size of each group."""
    most = len(seeds) if at_once is None else _at_least("seeds_at_once", at_once, 1)
    packs: list[tuple[int, int]] = []
    for seed in seeds:
        first, count = packs[-1] if packs else (seed, 0)
        if seed == first + count and 0 < count < most:
            packs[-1] = (first, count + 1)
        else:
            packs.append((seed, 1))
    return packs


def _resources(given: dict[str, Any]) -> Resources:
    kinds = get_type_hints(Resources)
    for name in given:
        require_known("`resources` has no", name, [field.name for field in fields(Resources)])
    return Resources(**{name: read_field(f"resources.{name}", kinds[name], value) for name, value in given.items()})


def _at_least(key: str, value: int, least: int) -> int:
    if value < least:
        raise ValueError(f"`{key}` must be at least {least}; got {value}.")
    return value
