"""The precision that networks compute in."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import equinox as eqx
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
    return _map_dense(lambda layer: _with(layer, dtype=jnp.dtype(dtype)), tree)


def in_parameter_dtype(tree: Tree) -> Tree:
    """The same tree, in which every `Dense` layer computes in the dtype of its parameters: the inverse of
    `with_compute_dtype`."""
    return _map_dense(lambda layer: _with(layer, dtype=None), tree)


def with_cast_weights(tree: Tree) -> Tree:
    """The same tree, in which the weights of every `Dense` layer have the dtype that it computes in.

    For parameters that are constant during an update, such as those of target networks: XLA does not move a cast out of
    the loop of an integration, so it is made once, before.
    """
    return _map_dense(lambda layer: layer if layer.dtype is None else _with(layer, weight=_cast(layer)), tree)


def _map_dense(function: Callable[[Dense], Dense], tree: Tree) -> Tree:
    def is_dense(node: PyTree) -> bool:
        return isinstance(node, Dense)

    return jax.tree.map(lambda node: function(node) if is_dense(node) else node, tree, is_leaf=is_dense)


def _cast(layer: Dense) -> Any:
    # A tree of shapes, or one that is partitioned, has weights that cannot be cast.
    return layer.weight.astype(layer.dtype) if eqx.is_array(layer.weight) else layer.weight


def _with(layer: Dense, **changes: Any) -> Dense:
    # Not `dataclasses.replace`, which would draw new weights; `Dense` has a constructor of its own.
    other = object.__new__(Dense)
    for field in fields(layer):
        object.__setattr__(other, field.name, changes.get(field.name, getattr(layer, field.name)))
    return other
