"""Ensembles of networks."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from floqzoo.typing import Key


Member = TypeVar("Member")


class Ensemble(eqx.Module, Generic[Member]):
    """Members of the same structure with separate parameters, stored as one tree with a leading axis.

    Losses use the ensemble as the outer `vmap` and the batch as the inner one, which is faster than the reverse.
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
        return Ensemble(eqx.filter_vmap(make)(jax.random.split(key, size)), size)

    def each(self, function: Callable[[Member], Any]) -> Any:
        """`function(member)` for every member, stacked along a new first axis."""
        return eqx.filter_vmap(function)(self.members)

    def each_with(self, function: Callable[[Member, Any], Any], extra: PyTree) -> Any:
        """`function(member, its slice of extra)` for every member; `extra` has the members as its first axis."""
        return eqx.filter_vmap(function)(self.members, extra)

    def joined(self, other: "Ensemble[Member]") -> "Ensemble[Member]":
        """The members of this ensemble followed by those of another one of the same structure."""

        def concatenate(mine: Any, theirs: Any) -> Any:
            return jnp.concatenate([mine, theirs]) if eqx.is_array(mine) else mine

        return Ensemble(jax.tree.map(concatenate, self.members, other.members), self.size + other.size)
