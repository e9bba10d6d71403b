"""What the environments of a run have shown, with what came after it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from floqzoo.hyperparameter import Number, hyperparameter, require
from floqzoo.records import FutureTransition, Transition
from floqzoo.tasks.geometric_future import steps_ahead
from floqzoo.tasks.replay_buffer import ExploredStep, ReplayBuffer, put
from floqzoo.typing import Key


class FutureReplay(ReplayBuffer):
    r"""A replay buffer whose transitions bring the next action, and a future from the rest of the episode.

    It must be written in rounds of one step of each of `environments` environments. The next action of a step is that of
    the next round, so the latest round is not drawn from, but is a future of what was before it; where an episode was
    over it is the action that the policy would have taken. The future is drawn as `FutureDataset` does it, from the
    episode as far as it is known.

    - `next_actions`: Of the transition in each slot.
    - `episodes`: The number of its episode in its environment, from 0.
    - `last`: Which transition was the last of an environment's episode so far, for the latest episodes.
    - `under_way`: The number of the episode that each environment is in.
    - `discount`: $\gamma$ in [0, 1), for each seed.
    """

    next_actions: Float[Array, "seeds slots action"]
    episodes: Int[Array, "seeds slots"]
    last: Int[Array, "seeds environments ends"]
    under_way: Int[Array, "seeds environments"]
    discount: Float[Array, " seeds"]

    @staticmethod
    def of(like: Any, *, seeds: int, slots: int, environments: int, discount: Number) -> "FutureReplay":
        """A buffer without transitions, which keeps the latest `slots` that can be drawn.

        - `like`: A transition, or the shapes and dtypes of one.

        **Raises** `ValueError` if `seeds`, `slots` or `environments` is not positive, or the discount outside [0, 1).
        """
        gamma = hyperparameter(discount)
        require("discount", gamma, lambda value: (value >= 0) & (value < 1), "in [0, 1)")
        if environments < 1:
            raise ValueError(f"`environments` must be at least 1; got {environments}.")
        plain = ReplayBuffer.empty(like, seeds=seeds, slots=slots + environments)
        whole = plain.slots
        return FutureReplay(
            plain.transitions,
            plain.written,
            next_actions=jnp.zeros_like(plain.transitions.action),
            episodes=jnp.zeros((seeds, whole), np.int32),
            last=jnp.zeros((seeds, environments, -(-whole // environments)), np.int32),
            under_way=jnp.zeros((seeds, environments), np.int32),
            discount=jnp.full(seeds, gamma.value),
        )

    @property
    def environments(self) -> int:
        """The number of environments of each seed."""
        return self.under_way.shape[1]

    @property
    def rounds_until_known(self) -> int:
        """How many rounds must have been written before there is anything to draw."""
        return 2

    @property
    def known(self) -> Int[Array, " seeds"]:
        """How many transitions of each seed were ever there to be drawn."""
        return jnp.maximum(self.written - self.environments, 0)

    @property
    def size(self) -> Int[Array, " seeds"]:
        """How many transitions of each seed are there to be drawn."""
        return jnp.minimum(self.known, self.slots - self.environments)

    def write(self, new: ExploredStep) -> "FutureReplay":
        """The buffer with one more round."""
        number = self.written[:, None] + jnp.arange(self.environments, dtype=np.int32)[None]
        slots, before = number % self.slots, (number - self.environments) % self.slots
        # The action of this round is the next one of the last, but where that ended an episode.
        went_on = (self.written[:, None] > 0) & (jnp.take_along_axis(self.episodes, before, 1) == self.under_way)
        kept = jnp.take_along_axis(self.next_actions, before[..., None], 1)
        next_actions = put(self.next_actions, before, jnp.where(went_on[..., None], new.action, kept))
        plain = ReplayBuffer(self.transitions, self.written).write(new)
        return FutureReplay(
            plain.transitions,
            plain.written,
            next_actions=put(next_actions, slots, new.next_action),
            episodes=put(self.episodes, slots, self.under_way),
            last=_put_ends(self.last, self.under_way % self.last.shape[2], number),
            under_way=self.under_way + new.over.astype(self.under_way.dtype),
            discount=self.discount,
        )

    def draw(self, place: Int[Array, ""], age: Int[Array, " batch"], key: Key) -> FutureTransition:
        """Transitions of the seed at a place, by age: 0 is the latest one whose next action is known."""
        number = self.written[place] - self.environments - 1 - age
        slot = number % self.slots
        ends = self.last[place, number % self.environments, self.episodes[place, slot] % self.last.shape[2]]
        ahead = steps_ahead(key, (ends - number) // self.environments, self.discount[place])
        step: Transition = jax.tree.map(lambda ring: ring[place, slot], self.transitions)
        return FutureTransition(
            step.observation,
            step.action,
            step.reward,
            step.mask,
            step.next_observation,
            next_action=self.next_actions[place, slot],
            future=self.transitions.next_observation[place, (number + ahead * self.environments) % self.slots],
        )


def _put_ends(last: Array, column: Int[Array, "seeds environments"], number: Array) -> Array:
    seeds, environments = column.shape
    return last.at[jnp.arange(seeds)[:, None], jnp.arange(environments)[None], column].set(number)
