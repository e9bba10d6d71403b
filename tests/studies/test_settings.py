"""Every study refuses settings with which nothing could be trained or measured, before it trains."""

import dataclasses
import importlib
import pkgutil

import pytest

import floqzoo.studies


MODULES = [
    importlib.import_module(f"floqzoo.studies.{found.name}") for found in pkgutil.iter_modules(floqzoo.studies.__path__)
]
SETTINGS = {
    kind
    for module in MODULES
    for kind in vars(module).values()
    if dataclasses.is_dataclass(kind) and kind.__module__ == module.__name__
    if kind.__name__.endswith(("Settings", "Config"))
}
FIELDS = [
    pytest.param(kind, field, id=f"{kind.__name__}.{field.name}")
    for kind in sorted(SETTINGS, key=lambda kind: kind.__name__)
    for field in dataclasses.fields(kind)
    if {type(x) for x in (field.default if isinstance(field.default, tuple) else (field.default,))} & {int, float}
]


@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_a_number_of_a_study_is_positive(kind, field):
    """Except a seed, which may be 0 but is below 2^32, and weight decay."""
    several = isinstance(field.default, tuple)
    number = type(field.default[0] if several else field.default)
    refused = {"seed": (-1, 2**32), "weight_decay": (-0.5,)}.get(field.name, (0, -1))
    for value in [number(value) for value in refused] + [float("nan"), float("inf")] * (number is float):
        value = (*field.default, value) if several else value
        with pytest.raises(ValueError, match=f"`{field.name}` must be"):
            kind(**{field.name: value})
