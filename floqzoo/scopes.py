"""Named steps of an update, which appear in profiles and in compiled programs."""

import re
from typing import Any

import jax


def update_step(name: str) -> Any:
    """Names the computation of a `with` block or a decorated function, by a `jax.named_scope` that is marked as a step.

    Steps can be nested, and do not change results. `floqzoo profile` also shows the named steps of your own parts.

    - `name`: The name of the step, of letters, digits and underscores.
    """
    return jax.named_scope(f"step:{name}")


_STEP = re.compile(r"step:(\w+)")


def steps_of(operation: str) -> tuple[str, ...]:
    """The steps in the JAX name of an operation, outermost first; a derivative belongs to the step that it
    differentiates.

    Empty for an operation outside all steps.
    """
    return tuple(dict.fromkeys(_STEP.findall(operation)))
