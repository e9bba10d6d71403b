"""The steps of an update by name, so that a profile and a compiled program show which step each kernel belongs to."""

import re
from typing import Any

import jax


def update_step(name: str) -> Any:
    """Names what is computed in a `with` block, or by the function that it decorates: `jax.named_scope`, marked as a step.

    Steps may be nested, and no number changes. Name the steps of your own parts, too, and `floqzoo profile` shows them.

    - `name`: Letters, digits and underscores.
    """
    return jax.named_scope(f"step:{name}")


_STEP = re.compile(r"step:(\w+)")


def steps_of(operation: str) -> tuple[str, ...]:
    """The steps in the name that JAX gave an operation, from the outermost on; a derivative belongs to the step that it is of.

    Of a kernel outside of all steps it is empty.
    """
    return tuple(dict.fromkeys(_STEP.findall(operation)))
