"""Ensembles of networks."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from floqzoo.typing import Key


Member = TypeVar("Member")


class Shared(eqx.Module, Generic[Member]):
    """A part of a network that all members of an ensemble share, such as a pixel encoder.

    It is stored once, and is not batched over the members: its output for one input is computed only once.

    - `shared`: The part.
    """

    shared: Member


class Ensemble(eqx.Module, Generic[Member]):
    """Members of the same structure with separate parameters, stored as one tree with a leading axis.

    Parts wrapped in [`Shared`][floqzoo.networks.Shared] are stored once, with the first member's parameters. Losses map
    over the ensemble in the outer `vmap` and over the batch in the inner one, which is faster than the reverse.
    """

    members: Member
    size: int = eqx.field(static=True)

    @staticmethod
    def build(make: Callable[[Key], Member], size: int, *, key: Key) -> "Ensemble[Member]":
        """Builds `size` members, each from a separate key.

        **Raises** `ValueError` if `size` is below 1.
        """
        if size < 1:
            raise ValueError(f"`size` of an ensemble must be at least 1; got {size}.")
        members = eqx.filter_vmap(make)(jax.random.split(key, size))
        return Ensemble(jax.tree.map(_of_all, members, is_leaf=_is_shared), size)

    @property
    def shares(self) -> bool:
        """Whether the members share a part."""
        return any(map(_is_shared, jax.tree.leaves(self.members, is_leaf=_is_shared)))

    def each(self, function: Callable[[Member], Any]) -> Any:
        """`function(member)` for every member, stacked along a new first axis."""
        return eqx.filter_vmap(function, in_axes=(self._axes,))(self.members)

    def each_with(self, function: Callable[[Member, Any], Any], extra: PyTree) -> Any:
        """`function(member, its slice of extra)` for every member, stacked; `extra` has the members as first axis."""
        return eqx.filter_vmap(function, in_axes=(self._axes, eqx.if_array(0)))(self.members, extra)

    def joined(self, other: "Ensemble[Member]") -> "Ensemble[Member]":
        """The members of this ensemble followed by those of another one of the same structure.

        **Raises** `ValueError` if the members share a part, since each ensemble has its own copy of it.
        """
        if self.shares:
            raise ValueError(
                "ensembles whose members share a part cannot be joined, since each ensemble has its own shared part."
            )

        def concatenate(mine: Any, theirs: Any) -> Any:
            return jnp.concatenate([mine, theirs]) if eqx.is_array(mine) else mine

        return Ensemble(jax.tree.map(concatenate, self.members, other.members), self.size + other.size)

    @property
    def _axes(self) -> PyTree:
        """The axis of the members in each part; None for shared parts."""
        return jax.tree.map(
            lambda node: None if _is_shared(node) else eqx.if_array(0), self.members, is_leaf=_is_shared
        )


def _is_shared(node: Any) -> bool:
    return isinstance(node, Shared)


def _of_all(node: Any) -> Any:
    """The first member's copy of a shared part; anything else unchanged."""
    return jax.tree.map(lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, node) if _is_shared(node) else node
