"""Names for the steps of an update, which appear in profiles and in compiled programs."""

import re
from typing import Any

import jax


def update_step(name: str) -> Any:
    """Marks a computation as a named step of an update; use it in a `with` statement or as a decorator.

    It returns a `jax.named_scope`, so it does not change results. Steps can be nested. `floqzoo profile` shows the time
    of each step, including the steps that you name in your own parts.

    - `name`: The name of the step, which consists of letters, digits and underscores.
    """
    return jax.named_scope(f"step:{name}")


_STEP = re.compile(r"step:(\w+)")


def steps_of(operation: str) -> tuple[str, ...]:
    """Returns the names of the steps that contain an operation, outermost first.

    The result is empty for an operation outside all steps. The derivative of an operation belongs to the same steps as
    the operation.

    - `operation`: The JAX name of the operation, which is its `op_name` in HLO text.
    """
    return tuple(dict.fromkeys(_STEP.findall(operation)))
