"""The arrays of a tree, apart from all else, and their names."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree


def split_arrays(tree: PyTree) -> tuple[PyTree, PyTree]:
    """Splits a tree into its arrays and all else; `eqx.combine` joins them again."""
    return eqx.partition(tree, eqx.is_array)


def own_arrays(arrays: PyTree) -> PyTree:
    """Copies every array to a device buffer of its own, so that all of them can be donated.

    A target network that was made as an alias of its online network shares buffers with it, and
    a buffer cannot be donated twice.
    """
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), arrays)


def named_leaves(tree: PyTree, separator: str = ".") -> dict[str, Any]:
    """The leaves of a tree by the path of their fields, such as `critic.network.layers.0.weight`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator=separator): leaf for path, leaf in leaves}
