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
    """Marks a part of a network as shared by all members of an ensemble, such as a pixel encoder.

    The part is stored once, and is not batched over the members, so its output for one input is computed only once.

    - `shared`: The shared part.
    """

    shared: Member


class Ensemble(eqx.Module, Generic[Member]):
    """An ensemble of members with the same structure but separate parameters.

    The members are stored as one tree, whose arrays have a leading axis for the members. Parts wrapped in
    [`Shared`][floqzoo.networks.Shared] are stored once, with the parameters of the first member. Losses apply
    `jax.vmap` over the batch inside a `vmap` over the ensemble, because the reverse order is slower.
    """

    members: Member
    size: int = eqx.field(static=True)

    @staticmethod
    def build(make: Callable[[Key], Member], size: int, *, key: Key) -> "Ensemble[Member]":
        """Builds an ensemble of `size` members, calling `make` with a separate key for each.

        **Raises** `ValueError` if `size` is below 1.
        """
        if size < 1:
            raise ValueError(f"`size` of an ensemble must be at least 1; got {size}.")
        members = eqx.filter_vmap(make)(jax.random.split(key, size))
        return Ensemble(jax.tree.map(_of_all, members, is_leaf=_is_shared), size)

    @property
    def shares(self) -> bool:
        """Whether the members share any part."""
        return any(map(_is_shared, jax.tree.leaves(self.members, is_leaf=_is_shared)))

    def each(self, function: Callable[[Member], Any]) -> Any:
        """Applies `function(member)` to every member, and stacks the results along a new first axis."""
        return eqx.filter_vmap(function, in_axes=(self._axes,))(self.members)

    def each_with(self, function: Callable[[Member, Any], Any], extra: PyTree) -> Any:
        """Applies `function` to every member and its slice of `extra`, and stacks the results along a new first axis.

        The first axis of each array in `extra` indexes the members.
        """
        return eqx.filter_vmap(function, in_axes=(self._axes, eqx.if_array(0)))(self.members, extra)

    def joined(self, other: "Ensemble[Member]") -> "Ensemble[Member]":
        """Returns an ensemble of the members of this ensemble, followed by those of another one of the same structure.

        **Raises** `ValueError` if the members share a part, because each of the two ensembles has its own copy of it.
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
