"""Conversion between the actions of an environment and the actions in [-1, 1] of policies and critics."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from floqzoo.protocols import ActsInChunks
from floqzoo.typing import Array


@dataclass(frozen=True)
class ActionUnits:
    r"""Converts between an action $a$ of a policy, in [-1, 1], and an action $u$ in the units of an environment.

    $$u = \operatorname{clip}\bigl(\ell + \tfrac{a + 1}{2} (h - \ell), \ell, h\bigr)$$

    Each action of a chunk is converted separately.

    - `low`, `high`: The finite bounds $\ell < h$ of the environment's actions.
    - `chunk_length`: The number of actions in a chunk; None for single actions.
    - `known`: Whether the bounds come from an environment; False for the default bounds -1 and 1.

    **Raises** `ValueError` if a bound is not finite, or `low` is not below `high`.
    """

    low: Float[np.ndarray, " action"]
    high: Float[np.ndarray, " action"]
    chunk_length: int | None = None
    known: bool = True

    def __post_init__(self):
        if not (np.isfinite(self.low).all() and np.isfinite(self.high).all() and (self.low < self.high).all()):
            raise ValueError(
                f"`action_bounds` must be finite, each lower bound below its upper bound; got {self.low} and {self.high}."
            )

    @staticmethod
    def of_policy(policy: Any, action_dim: int, bounds: tuple[Any, Any] | None) -> "ActionUnits":
        """Creates the conversion for the actions of a policy in an environment.

        - `policy`: The policy; it acts in chunks if it satisfies `ActsInChunks`.
        - `action_dim`: The number of coordinates of the policy's output, which is a single action or a whole chunk.
        - `bounds`: The bounds of the environment's actions, each with one number per coordinate; None for -1 and 1.

        **Raises** `ValueError` if the bounds do not fit the policy's actions.
        """
        steps = policy.chunk_length if isinstance(policy, ActsInChunks) else None
        width = action_dim // (steps or 1)
        low, high = (np.asarray(bound) for bound in bounds or (-np.ones(width), np.ones(width)))
        if (low.shape, high.shape) != ((width,), (width,)):
            raise ValueError(
                f"`action_bounds` must be two vectors of {width} numbers, one for each coordinate of an action; got the "
                f"shapes {low.shape} and {high.shape}."
            )
        return ActionUnits(_float32_within(low, 1), _float32_within(high, -1), steps, bounds is not None)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an action of the environment, or of a chunk with one action per row."""
        return self.low.shape if self.chunk_length is None else (self.chunk_length, *self.low.shape)

    @property
    def size(self) -> Float[np.ndarray, " action"]:
        """The largest absolute value of each coordinate of the environment's actions."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def from_policy(self, action: Float[Array, " numbers"]) -> Float[Array, "..."]:
        """Converts an action of the policy, or a flat chunk, to the units of the environment."""
        action = action.reshape(self.shape)
        if self._same:
            return action
        low, high = (np.broadcast_to(bound, self.shape) for bound in (self.low, self.high))
        return jnp.clip(low + (action + 1) / 2 * (high - low), low, high)

    def to_policy(self, action: Float[Array, "..."]) -> Float[Array, " numbers"]:
        """Converts an action of the environment, or a chunk, to an action of the policy, or to a flat chunk.

        This is the inverse of `from_policy` within the bounds.
        """
        if not self._same:
            low, high = (np.broadcast_to(bound, self.shape) for bound in (self.low, self.high))
            action = (action - low) / (high - low) * 2 - 1
        return action.reshape(-1)

    @property
    def _same(self) -> bool:
        return bool((self.low == -1).all() and (self.high == 1).all())


def _float32_within(bound: np.ndarray, direction: int) -> np.ndarray:
    """A bound in float32, rounded inwards, so that no action is outside a `Box` with bounds in float64."""
    rounded = np.asarray(bound, np.float32)
    outside = direction * rounded.astype(np.float64) < direction * bound
    return np.where(outside, np.nextafter(rounded, np.float32(direction * np.inf)), rounded)
