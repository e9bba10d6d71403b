"""The precision that networks compute in."""

from dataclasses import fields
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike, PyTree

from floqzoo.networks.dense import Dense


Tree = TypeVar("Tree", bound=PyTree)


def with_compute_dtype(tree: Tree, dtype: DTypeLike) -> Tree:
    """The same tree, in which every [`Dense`][floqzoo.networks.dense.Dense] layer computes its products in `dtype`.

    Parameters, the state of an optimiser and layer norms stay as they are. What a network gives its caller is of the dtype
    of what it got.

    - `tree`: A network, or anything that holds some, such as an agent.
    """
    return jax.tree.map(
        lambda node: _with_dtype(node, dtype) if isinstance(node, Dense) else node,
        tree,
        is_leaf=lambda node: isinstance(node, Dense),
    )


def _with_dtype(layer: Dense, dtype: DTypeLike) -> Dense:
    # Not `dataclasses.replace`, which would draw new weights; `Dense` has a constructor of its own.
    other = object.__new__(Dense)
    for field in fields(layer):
        value = jnp.dtype(dtype) if field.name == "dtype" else getattr(layer, field.name)
        object.__setattr__(other, field.name, value)
    return other
