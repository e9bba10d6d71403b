"""The precision of matrix products in networks."""

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
    """Returns a copy of a tree whose [`Dense`][floqzoo.networks.dense.Dense] layers compute products in `dtype`.

    Parameters, optimiser states and layer norms are unchanged. The output of a network has the dtype of the input.

    - `tree`: A network, or a tree of networks, such as an agent.
    """
    return _map_dense(lambda layer: _with(layer, dtype=jnp.dtype(dtype)), tree)


def in_parameter_dtype(tree: Tree) -> Tree:
    """Returns a copy of a tree in which every `Dense` layer computes in the dtype of its parameters, without a cast.

    This undoes `with_compute_dtype`.
    """
    return _map_dense(lambda layer: _with(layer, dtype=None), tree)


def with_cast_weights(tree: Tree) -> Tree:
    """Returns a copy of a tree in which the parameters of every `Dense` layer are cast to the dtype of its products.

    Use it for parameters that are constant during an update, such as those of target networks, because XLA does not
    move the casts out of the integration loop.
    """

    def cast(layer: Dense) -> Dense:
        if layer.dtype is None:
            return layer
        return _with(layer, weight=_cast(layer.weight, layer.dtype), bias=_cast(layer.bias, layer.dtype))

    return _map_dense(cast, tree)


def _map_dense(function: Callable[[Dense], Dense], tree: Tree) -> Tree:
    def is_dense(node: PyTree) -> bool:
        return isinstance(node, Dense)

    return jax.tree.map(lambda node: function(node) if is_dense(node) else node, tree, is_leaf=is_dense)


def _cast(parameter: Any, dtype: DTypeLike) -> Any:
    # In a tree of shapes, or a partitioned tree, parameters cannot be cast.
    return parameter.astype(dtype) if eqx.is_array(parameter) else parameter


def _with(layer: Dense, **changes: Any) -> Dense:
    # Not `dataclasses.replace`: it would call the constructor of `Dense`, which draws new weights.
    other = object.__new__(Dense)
    for field in fields(layer):
        object.__setattr__(other, field.name, changes.get(field.name, getattr(layer, field.name)))
    return other
