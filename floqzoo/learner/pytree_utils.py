"""Utilities for the arrays and the leaf names of pytrees."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree


def split_arrays(tree: PyTree) -> tuple[PyTree, PyTree]:
    """Splits a tree into its arrays and everything else; `eqx.combine` joins them again."""
    return eqx.partition(tree, eqx.is_array)


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """Returns the leaves of a tree as a dictionary whose keys are paths such as `critic.network.layers.0.weight`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
