"""Checks the numbers of a study's settings."""

import dataclasses

from floqzoo.learner.seeds import require_seed


def require_positive(settings: object) -> None:
    """Checks that the numbers of a dataclass are positive, also those in tuples; to be called in its `__post_init__`.

    A field named `seed` must be in [0, 2^32), and one named `weight_decay` may be 0.

    **Raises** `ValueError` if a number is not allowed; the message starts with the name of the field.
    """
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        name, value = field.name, getattr(settings, field.name)
        if name == "seed":
            require_seed(name, value)
            continue
        numbers = [x for x in (value if isinstance(value, tuple) else (value,)) if type(x) in (int, float)]
        may_be_zero = name == "weight_decay"
        if not all(x > 0 or (may_be_zero and x == 0) for x in numbers):
            raise ValueError(f"`{name}` must be {'at least 0' if may_be_zero else 'positive'}; got {value}.")
