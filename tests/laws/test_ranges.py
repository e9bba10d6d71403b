"""The range of every number of every part is the one that its error states: its ends, and what lies just beyond them."""

import dataclasses
import inspect
import re
from functools import cache
from itertools import chain

import equinox as eqx
import numpy as np
from test_families import example_of

from floqzoo.hyperparameter import Hyperparameter
from floqzoo.testing import FAMILIES


def parts_in(part):
    """A part, and all parts of floqzoo inside it, which are built from their fields."""
    if isinstance(part, tuple):
        yield from chain.from_iterable(map(parts_in, part))
    elif isinstance(part, eqx.Module) and type(part).__module__.startswith("floqzoo"):
        names = [field.name for field in dataclasses.fields(part)]
        if {field.name for field in dataclasses.fields(part) if field.init} == {
            *inspect.signature(type(part)).parameters
        }:
            yield part
        yield from chain.from_iterable(parts_in(getattr(part, name)) for name in names)


# The size of an ensemble is that of its arrays; `Ensemble.build` checks it.
DERIVED = {"Ensemble.size"}


@cache
def fields():
    """The fields of all parts, one part of each class; built on demand, since every process of the tests imports this."""
    parts = {
        type(part): part
        for member in FAMILIES[eqx.Module]
        for part in parts_in(example_of(member))
        if not isinstance(part, Hyperparameter)
    }
    return [
        (part, field.name, getattr(part, field.name))
        for part in parts.values()
        for field in dataclasses.fields(part)
        if field.init
    ]


def refusal(part, name, value):
    """What the part says of another value of a number; None if it takes it, or refuses another number beside it."""
    try:
        dataclasses.replace(part, **{name: value})
    except ValueError as error:
        return str(error) if str(error).startswith(f"`{name}`") else None
    return None


def stated_range(part, name, wrong):
    """The interval that the error for a wrong number states, and whether its ends are in it."""
    message = refusal(part, name, wrong)
    assert message is not None, f"{type(part).__name__}.{name} takes {wrong}"
    stated = re.match(rf"`{name}` must (?:be|lie) (.*)", message)[1]
    number = r"(-?[\d.]+(?:e-?\d+)?)"
    if found := re.match(rf"in ([\[(]){number}, {number}([\])])", stated):
        return float(found[2]), found[1] == "[", float(found[3]), found[4] == "]"
    if found := re.search(rf"(above|at least) {number}", stated):
        return float(found[2]), found[1] == "at least", np.inf, "finite" not in stated
    if found := re.match(rf"below `high`, which is {number}", stated):
        return -np.inf, False, float(found[1]), False
    assert stated.startswith("finite"), stated
    return -np.inf, False, np.inf, False


def test_a_number_has_the_range_that_its_error_states():
    for part, name, value in fields():
        if isinstance(value, Hyperparameter) and np.ndim(value.stored) == 0:
            assert_number_has_its_range(part, name)


def assert_number_has_its_range(part, name):
    low, low_included, high, high_included = stated_range(part, name, np.nan)
    for end, included, inwards in ((low, low_included, 1), (high, high_included, -1)):
        end, where = np.float32(end), f"{type(part).__name__}.{name} at {end}"
        assert (refusal(part, name, end) is None) is included, where
        if np.isfinite(end):
            step = inwards * max(np.spacing(np.abs(end)), np.finfo(np.float32).tiny)
            assert refusal(part, name, end - step) is not None, f"just outside: {where}"
            assert refusal(part, name, end + step) is None, f"just inside: {where}"


def test_a_count_has_the_range_that_its_error_states():
    for part, name, value in fields():
        where = f"{type(part).__name__}.{name}"
        if type(value) is int and where not in DERIVED:
            low, _, high, _ = stated_range(part, name, -(2**10))
            for end, outwards in ((low, -1), (high, 1)):
                if np.isfinite(end):
                    assert refusal(part, name, int(end)) is None, where
                    assert refusal(part, name, int(end) + outwards) is not None, where
