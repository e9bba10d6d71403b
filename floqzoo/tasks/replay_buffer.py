"""A replay buffer on the device."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from floqzoo.records import Transition
from floqzoo.typing import Array


class ExploredStep(eqx.Module):
    """One exploration step of each environment of each seed, which can be written to a `ReplayBuffer`.

    - `transition`: The transitions, without next actions.
    - `over`: Whether the step ended its episode, by termination or by truncation.
    - `next_action`: For a step that ends an episode, the action that the policy would have taken at `next_observation`;
      ignored for other steps.
    """

    transition: Transition
    over: Bool[Array, "*batch"]
    next_action: Float[Array, "*batch action"]


class ReplayBuffer(eqx.Module):
    r"""A ring buffer that stores the latest transitions of each seed and the indices of their episodes.

    Each write adds one round: one step in each of the `environments` environments of every seed. The transitions of a
    seed are numbered from 0 in the order in which they are written. Transition $w$ is stored at position $w \bmod R$,
    where $R$ is `slots` + `environments`, until transition $w + R$ replaces it. The next step in the same environment
    is transition $w + \text{environments}$. The next action of a transition is the action taken in its environment in
    the next round; at the end of an episode, it is the action that the policy would have taken.

    - `transitions`: The transitions, with the seed and the position as the first axes. Unused positions contain
      zeros.
    - `written`: The total number of transitions written for each seed.
    - `episodes`: For each transition, the index of its episode among the episodes of its environment.
    - `last`: For each environment, the index $w$ of the latest transition of each recent episode.
    - `current`: The index of the current episode of each environment.
    """

    transitions: Transition
    written: Int[Array, " seeds"]
    episodes: Int[Array, "seeds slots"]
    last: Int[Array, "seeds environments ends"]
    current: Int[Array, "seeds environments"]

    @staticmethod
    def empty(like: Any, *, seeds: int, slots: int, environments: int) -> "ReplayBuffer":
        """Creates an empty buffer, from which at most the latest `slots` transitions of each seed can be sampled.

        - `like`: A transition with its next action, or its shapes and dtypes as returned by `jax.eval_shape`.

        **Raises** `ValueError` if `seeds`, `slots` or `environments` is not positive.
        """
        for name, number in (("seeds", seeds), ("slots", slots), ("environments", environments)):
            if number < 1:
                raise ValueError(f"`{name}` must be at least 1; got {number}.")
        # One more round than can be sampled, for the next actions of the round before.
        whole = slots + environments
        return ReplayBuffer(
            jax.tree.map(lambda leaf: jnp.zeros((seeds, whole, *leaf.shape), leaf.dtype), like),
            jnp.zeros(seeds, np.int32),
            jnp.zeros((seeds, whole), np.int32),
            jnp.zeros((seeds, environments, -(-whole // environments)), np.int32),
            jnp.zeros((seeds, environments), np.int32),
        )

    @property
    def environments(self) -> int:
        """The number of environments of each seed."""
        return self.current.shape[1]

    @property
    def slots(self) -> int:
        """The maximum number of transitions of each seed that can be sampled."""
        return self.transitions.reward.shape[1] - self.environments

    def known(self, next_actions: bool) -> Int[Array, " seeds"]:
        """Returns the number of transitions written for each seed.

        With `next_actions`, only transitions whose next action is known are counted.
        """
        return jnp.maximum(self.written - self.environments, 0) if next_actions else self.written

    def size(self, next_actions: bool) -> Int[Array, " seeds"]:
        """Returns how many transitions of each seed can be sampled: `known(next_actions)`, but at most `slots`."""
        return jnp.minimum(self.known(next_actions), self.slots)

    def write(self, new: ExploredStep) -> "ReplayBuffer":
        """Returns the buffer with one more round, which replaces the oldest round if the buffer is full.

        - `new`: The steps, with the seed and the environment as the first axes.

        **Raises** `ValueError` if `new` has a different number of environments.
        """
        if new.over.shape[1] != self.environments:
            raise ValueError(f"`new` must have {self.environments} environments per seed; got {new.over.shape[1]}.")
        ring = self.transitions.reward.shape[1]
        number = self.written[:, None] + jnp.arange(self.environments, dtype=np.int32)[None]
        slots, before = number % ring, (number - self.environments) % ring
        # The action of this round is the next action of the round before, unless that ended an episode.
        continues = (self.written[:, None] > 0) & (jnp.take_along_axis(self.episodes, before, 1) == self.current)
        old_next = self.transitions.require("next_action", "a replay buffer")
        kept = jnp.take_along_axis(old_next, before[..., None], 1)
        next_actions = _put(old_next, before, jnp.where(continues[..., None], new.transition.action, kept))
        old = eqx.tree_at(lambda step: step.next_action, self.transitions, next_actions)
        latest = eqx.tree_at(
            lambda step: step.next_action, new.transition, new.next_action, is_leaf=lambda leaf: leaf is None
        )
        return ReplayBuffer(
            jax.tree.map(lambda ring, rows: _put(ring, slots, rows), old, latest),
            self.written + self.environments,
            _put(self.episodes, slots, self.current),
            _put_ends(self.last, self.current % self.last.shape[2], number),
            self.current + new.over.astype(self.current.dtype),
        )

    def of_seed(self, place: Int[Array, ""], next_actions: bool) -> "SeedReplay":
        """Returns the transitions of the seed at index `place`.

        With `next_actions`, only transitions whose next action is known are part of the result.
        """
        return SeedReplay(self, place, next_actions)


class SeedReplay(eqx.Module):
    """The transitions of one seed in a replay buffer, as an [`EpisodeStore`][floqzoo.protocols.EpisodeStore].

    Its indices are the numbers $w$ of the transitions, as defined in `ReplayBuffer`.

    - `replay`: The replay buffer of all seeds. It is not sliced, because a slice for one seed would be copied in every
      update.
    - `place`: The index of the seed on the first axis of `replay`.
    - `next_actions`: Whether the latest round is left out, because its next actions are not known yet.
    """

    replay: ReplayBuffer
    place: Int[Array, ""]
    next_actions: bool = eqx.field(static=True)

    def of_age(self, age: Int[Array, " batch"]) -> Int[Array, " batch"]:
        """Returns the indices of the transitions of the given ages, which must be below `ReplayBuffer.size`.

        Age 0 is the latest transition or, with `next_actions`, the latest transition of the round before.
        """
        held_back = self.replay.environments if self.next_actions else 0
        return self.replay.written[self.place] - held_back - 1 - age

    def transition(self, at: Int[Array, "*batch"]) -> Transition:
        """Returns the transitions with the given indices."""
        slot = at % self.replay.transitions.reward.shape[1]
        return jax.tree.map(lambda ring: ring[self.place, slot], self.replay.transitions)

    def later(self, at: Int[Array, "*batch"], steps: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """Returns the indices of the transitions that come `steps` steps after `at` in the same environments."""
        return at + steps * self.replay.environments

    def steps_left(self, at: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """Returns, for each transition, the number of later transitions in its episode.

        With `next_actions`, the latest transition of an episode that has not ended is not counted.
        """
        environment, slot = at % self.replay.environments, at % self.replay.transitions.reward.shape[1]
        episode = self.replay.episodes[self.place, slot]
        last = self.replay.last[self.place, environment, episode % self.replay.last.shape[2]]
        left = (last - at) // self.replay.environments
        if not self.next_actions:
            return left
        return jnp.where(episode == self.replay.current[self.place, environment], left - 1, left)


def _put(ring: Array, slots: Int[Array, "seeds rows"], rows: Array) -> Array:
    """The ring of each seed, with `rows` written to the positions `slots`."""
    return jax.vmap(lambda ring, slot, row: ring.at[slot].set(row))(ring, slots, rows)


def _put_ends(last: Array, column: Int[Array, "seeds environments"], number: Array) -> Array:
    seeds, environments = column.shape
    return last.at[jnp.arange(seeds)[:, None], jnp.arange(environments)[None], column].set(number)
