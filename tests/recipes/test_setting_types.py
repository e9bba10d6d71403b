"""Settings take the numbers, arrays and paths of NumPy and pathlib, and refuse every other type in one sentence."""

import dataclasses
import importlib
import inspect
import typing
from pathlib import Path
from types import NoneType

import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
import recipes
from floqzoo.runs import convert_settings
from floqzoo.tasks import record_episodes


RECIPES = {name: importlib.import_module(f"recipes.{name}").RECIPE for name in recipes.NAMES}
RUNS = {name: recipe.presets["default"](None) for name, recipe in RECIPES.items()}
SETTINGS = {"run": RUNS["floq"], **{name: run.agent for name, run in RUNS.items()}}
CASES = [
    pytest.param(settings, field.name, hints[field.name], id=f"{name}-{field.name}")
    for name, settings in SETTINGS.items()
    for hints in [typing.get_type_hints(type(settings))]
    for field in dataclasses.fields(settings)
    if field.name != "agent"
]
PLAIN = (bool, int, float, str, tuple)


def forms(value):
    """The same value as NumPy, pathlib, JSON and JAX have it."""
    if isinstance(value, bool):
        return [np.bool_(value), np.array(value)]
    if isinstance(value, int):
        return [np.int64(value), np.int32(value), np.array(value), jnp.asarray(value)]
    if isinstance(value, float):
        whole = [int(value), np.int64(value)] if value == int(value) else []
        return [np.float64(value), np.array(value), *whole]
    if isinstance(value, str):
        return [np.str_(value)]
    return [list(value), np.array(value), np.array(value, np.int32), jnp.array(value), tuple(map(np.int64, value))]


@pytest.mark.parametrize(("settings", "name", "kind"), CASES)
def test_another_form_of_a_default_is_that_default(settings, name, kind):
    value = getattr(settings, name)
    for form in forms(value) if value is not None else []:
        other = dataclasses.replace(settings, **{name: form})
        assert other == settings
        found = getattr(other, name)
        assert type(found) is type(value) and type(value) in PLAIN
        assert value == () or not isinstance(value, tuple) or {type(item) for item in found} == {int}


OF_NO_KIND = [b"1", 1j, object(), {"a": 1}, np.ones((9, 9)), np.zeros(99), [[8]]]
WRONG = {
    int: [32.0, np.float32(32), "256", True, np.bool_(1), None, (3,), *OF_NO_KIND],
    float: ["1e-3", True, None, (1.0,), Path("1"), *OF_NO_KIND],
    bool: [1, 0.0, "True", None, np.int64(1), *OF_NO_KIND],
    str: [3, True, None, ("a",), *OF_NO_KIND],
    tuple: [256, "256", (512.0,), ["8"], (True,), None, np.ones(2), *OF_NO_KIND],
    typing.Literal: [3, "?", True, None, np.array(["mean"]), *OF_NO_KIND],
}


@pytest.mark.parametrize(("settings", "name", "kind"), CASES)
def test_a_value_of_another_type_is_refused_in_one_sentence_by_the_name_of_the_setting(settings, name, kind):
    origin = typing.get_origin(kind)
    members = [kind] if origin in (None, tuple, typing.Literal) else list(typing.get_args(kind))
    optional = NoneType in members
    (member,) = {typing.get_origin(member) or member for member in members} - {NoneType}
    for value in WRONG[member]:
        if value is None and optional:
            continue
        with pytest.raises(ValueError, match=rf"^`{name}(\[0\])?` must be .*; got .*\.$") as refused:
            dataclasses.replace(settings, **{name: value})
        assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


def test_paths_become_strings():
    names = ("save_dir", "dataset_path", "dataset_dir", "start_from", "compilation_cache")
    run = dataclasses.replace(RUNS["floq"], **{name: Path("a") / "b" for name in names})
    assert [getattr(run, name) for name in names] == [str(Path("a") / "b")] * len(names)


def test_the_messages():
    with pytest.raises(ValueError, match=r"^`batch_size` must be int; got 32.0\.$"):
        dataclasses.replace(SETTINGS["floq"], batch_size=32.0)
    with pytest.raises(ValueError, match=r"^`actor_hidden_dims\[1\]` must be int; got 'wide'\.$"):
        dataclasses.replace(SETTINGS["floq"], actor_hidden_dims=[512, "wide"])
    with pytest.raises(ValueError, match=r"^`execution_horizon` must be int \| None; got '2'\.$"):
        dataclasses.replace(SETTINGS["floq"], execution_horizon="2")


def test_fields_of_other_types_are_left_alone():
    @dataclasses.dataclass(frozen=True)
    class Own:
        schedule: typing.Any = 1.0
        layers: list[int] | None = None
        width: "int" = 3
        derived: int = dataclasses.field(init=False)

        def __post_init__(self):
            convert_settings(self)

    own = Own(layers=[1], schedule=abs)
    assert (own.layers, own.schedule, own.width) == ([1], abs, 3)
    with pytest.raises(ValueError, match=r"^`width` must be int; got 'x'\.$"):
        Own(width="x")


def test_seeds_and_counts_may_be_numbers_of_numpy():
    import gymnasium

    def make():
        return gymnasium.make("Pendulum-v1", max_episode_steps=3)

    mine, other = (record_episodes(make, episodes=n(2), seed=n(3)) for n in (int, np.int64))
    assert np.array_equal(mine.observations, other.observations)


COUNTED = {"episodes", "seed", "step", "episode_seed", "checkpoint"}
TAKE_NUMBERS = (
    fz.collect,
    fz.evaluate,
    fz.load_agent,
    fz.export_run,
    record_episodes,
    importlib.import_module("floqzoo.results.run_evaluation").evaluate_run,
    importlib.import_module("floqzoo.results.video").record_video,
    importlib.import_module("floqzoo.results.video").film_run,
    importlib.import_module("floqzoo.results.run_inspection").inspect_run,
    importlib.import_module("floqzoo.results.future_inspection").inspect_futures,
)


@pytest.mark.parametrize("function", TAKE_NUMBERS, ids=lambda function: function.__name__)
def test_a_function_takes_seeds_and_counts_as_any_whole_number(function):
    hints = typing.get_type_hints(inspect.unwrap(function))
    given = COUNTED & hints.keys()
    assert given
    assert all(typing.SupportsIndex in (hints[name], *typing.get_args(hints[name])) for name in given)
