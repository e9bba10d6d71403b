"""Checks the numbers of a study's settings."""

import dataclasses
import math

from floqzoo.learner.seeds import require_seed


def require_positive(settings: object) -> None:
    """Checks the numbers of a dataclass, also those in tuples; to be called in its `__post_init__`.

    They must be positive and finite. A tuple must not be empty, unless it contains the widths of layers (`hidden`). A
    field named `seed` must be in [0, 2^32), and one named `weight_decay` may be 0.

    **Raises** `ValueError` if a number is not allowed; the message starts with the name of the field.
    """
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        name, value = field.name, getattr(settings, field.name)
        if name == "seed":
            require_seed(name, value)
            continue
        if value == () and name != "hidden":
            raise ValueError(f"`{name}` must not be empty; got {value}.")
        numbers = [x for x in (value if isinstance(value, tuple) else (value,)) if type(x) in (int, float)]
        may_be_zero = name == "weight_decay"
        if not all(0 < x < math.inf or (may_be_zero and x == 0) for x in numbers):
            least = "at least 0" if may_be_zero else "positive"
            raise ValueError(f"`{name}` must be {least} and finite; got {value}.")
