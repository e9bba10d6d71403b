"""What the environments of a run have shown, on the device."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from floqzoo.records import Transition
from floqzoo.typing import Key


class ExploredStep(Transition):
    """A step of exploration.

    - `observation`, `action`, `reward`, `mask`, `next_observation`: As in `Transition`.
    - `over`: Whether the episode is over with it, by itself or cut off.
    - `next_action`: Where it is over, the action that the policy would have taken at `next_observation`.
    """

    over: Bool[Array, "*batch"]
    next_action: Float[Array, "*batch action"]

    @property
    def transition(self) -> Transition:
        """The step alone."""
        return Transition(self.observation, self.action, self.reward, self.mask, self.next_observation)


class ReplayBuffer(eqx.Module):
    r"""The latest transitions of each seed, in a ring.

    The transition that was written as number $w$, from 0, lies in slot $w \bmod \text{slots}$, until number
    $w + \text{slots}$ takes its place.

    - `transitions`: One a slot, with the axes seeds, slots; what was not yet written is 0.
    - `written`: How many were ever written, for each seed.
    """

    transitions: Transition
    written: Int[Array, " seeds"]

    @staticmethod
    def empty(like: Any, *, seeds: int, slots: int) -> "ReplayBuffer":
        """A buffer without transitions.

        - `like`: A transition, or the shapes and dtypes of one.

        **Raises** `ValueError` if `seeds` or `slots` is not positive.
        """
        for name, number in (("seeds", seeds), ("slots", slots)):
            if number < 1:
                raise ValueError(f"`{name}` must be at least 1; got {number}.")
        transitions = jax.tree.map(lambda leaf: jnp.zeros((seeds, slots, *leaf.shape), leaf.dtype), like)
        return ReplayBuffer(transitions, jnp.zeros(seeds, np.int32))

    @property
    def slots(self) -> int:
        """The slots for each seed."""
        return self.transitions.reward.shape[1]

    @property
    def rounds_until_known(self) -> int:
        """How many rounds must have been written before there is anything to draw."""
        return 1

    @property
    def known(self) -> Int[Array, " seeds"]:
        """How many transitions of each seed were ever there to be drawn."""
        return self.written

    @property
    def size(self) -> Int[Array, " seeds"]:
        """How many transitions of each seed are there to be drawn."""
        return jnp.minimum(self.known, self.slots)

    def write(self, new: ExploredStep) -> "ReplayBuffer":
        """The buffer with some more transitions, which take the place of the oldest where it is full.

        - `new`: With the axes seeds, environments: in the order of time, and no more than there are slots.

        **Raises** `ValueError` if there are more.
        """
        count = new.reward.shape[1]
        if count > self.slots:
            raise ValueError(
                f"`new` must have at most {self.slots} transitions a seed, as there are slots; got {count}."
            )
        slots = (self.written[:, None] + jnp.arange(count, dtype=np.int32)[None]) % self.slots
        transitions = jax.tree.map(lambda ring, rows: put(ring, slots, rows), self.transitions, new.transition)
        return ReplayBuffer(transitions, self.written + count)

    def draw(self, place: Int[Array, ""], age: Int[Array, " batch"], key: Key) -> Transition:
        """Transitions of the seed at a place, by age: 0 is the latest one that is known.

        An age must be below `size`.
        """
        slot = (self.written[place] - 1 - age) % self.slots
        return jax.tree.map(lambda ring: ring[place, slot], self.transitions)


def put(ring: Array, slots: Int[Array, "seeds rows"], rows: Array) -> Array:
    """Each seed's ring, with its rows in its slots."""
    return jax.vmap(lambda ring, slot, row: ring.at[slot].set(row))(ring, slots, rows)
