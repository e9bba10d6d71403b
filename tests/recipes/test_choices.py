"""Each value of a setting that has a few values builds an agent of its kind: none is ignored, and no two are the same."""

import dataclasses
import typing
from dataclasses import replace

import equinox as eqx
import jax
import numpy as np
import pytest
from blueprint import blueprint
from test_refused_settings import RECIPES


USED_WITH = {("value_flows", "normalize_q_loss"): {"acting": "one-step"}}
"""Settings under which others count."""
# An encoder needs pixels; the others change the batches or the inferred task, or need the run of another recipe.
ELSEWHERE = {"encoder", ("fb", "terminations"), ("fb", "reward_of"), ("td2_cfm", "measure_of")}


def choices(settings):
    """The fields of a dataclass that have a few values, with these values."""
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        for kind in (hints[field.name], *typing.get_args(hints[field.name])):
            if kind is bool:
                yield field.name, (False, True)
            elif typing.get_origin(kind) is typing.Literal:
                yield field.name, typing.get_args(kind)


CASES = [
    pytest.param(recipe, name, values, id=f"{recipe.name}-{name}")
    for recipe in RECIPES
    for name, values in choices(recipe.presets["default"](None).agent)
    if not {name, (recipe.name, name)} & ELSEWHERE
]


def description(agent):
    """An agent's parts, functions, sizes and hyperparameters."""
    numbers = [np.asarray(leaf) for leaf in jax.tree.leaves(agent) if isinstance(leaf, np.ndarray | float | int)]
    return f"{eqx.tree_pformat(agent)} {numbers}"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:no settings are published")
@pytest.mark.parametrize(("recipe", "name", "values"), CASES)
def test_each_choice_builds_another_agent(recipe, name, values):
    def built(value):
        settings = replace(recipe.presets["default"](None).agent, **USED_WITH.get((recipe.name, name), {}))
        return description(blueprint(recipe.build, replace(settings, **{name: value})))

    assert built(values[0]) == built(values[0])
    assert len({built(value) for value in values}) == len(values)


def test_many_choices_are_seen():
    assert {"floq-backup", "infom-intention_gradient", "td2_cfm-method"} <= {case.id for case in CASES}
    assert len(CASES) > 50
