r"""Datasets that are held on the device and store each state once."""

import hashlib
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Real

from floqzoo.records import Transition
from floqzoo.tasks.input_arrays import require_zeros_and_ones
from floqzoo.tasks.replay_buffer import ReplayBuffer
from floqzoo.typing import Array, Key


class Dataset(eqx.Module):
    r"""A dataset of transitions $(s_i, a_i, r_i, s_{i+1})$ on the device, stored as concatenated episodes.

    Each state is stored once, and `starts` lists the states at which a transition starts. No transition starts at the
    last state of an episode, so no transition spans two episodes. Create a dataset with
    [`dataset_from_transitions`][floqzoo.tasks.dataset_from_transitions],
    [`dataset_from_episodes`][floqzoo.tasks.dataset_from_episodes] or
    [`dataset_from_states`][floqzoo.tasks.dataset_from_states]. A transition is identified by the index of its first
    state, as in [`EpisodeStore`][floqzoo.protocols.EpisodeStore].

    - `observations`, `actions`: One row per state; actions are in [-1, 1].
    - `rewards`, `masks`: For each state, the reward and the mask of the transition that starts there. The mask is 0 if
      the transition terminates, and 1 otherwise.
    - `starts`: The indices of the states at which a transition starts, in ascending order.
    - `last`: For each state, the index of the last state of its episode.
    - `next_starts`, `next_last`: `starts` and `last` without the transitions whose next action is unknown, which are
      the last ones of truncated episodes; `with_next_actions` uses them. None if every next action is known.
    - `action_bounds`: The environment's lower and upper action bounds, which were mapped to -1 and 1; None if they are
      unknown.
    """

    observations: Real[Array, "states observation"]
    actions: Float[Array, "states action"]
    rewards: Float[Array, " states"]
    masks: Float[Array, " states"]
    starts: Int[Array, " transitions"]
    last: Int[Array, " states"]
    next_starts: Int[Array, " transitions_with_next"] | None = None
    next_last: Int[Array, " states"] | None = None
    action_bounds: tuple[tuple[float, ...], tuple[float, ...]] | None = eqx.field(static=True, default=None)

    def with_next_actions(self) -> "Dataset":
        """Returns the dataset without the transitions whose next action is unknown.

        **Raises** `ValueError` if no transition remains.
        """
        if self.next_starts is None or self.next_last is None:
            return self
        if not self.next_starts.shape[0]:
            raise ValueError(
                "this method needs next actions, but each transition of the dataset ends its episode, so none has one; use "
                "a dataset with longer episodes."
            )
        return replace(self, starts=self.next_starts, last=self.next_last, next_starts=None, next_last=None)

    def first_episodes(self, count: int) -> "Dataset":
        """Returns the dataset with the transitions of its first `count` episodes only.

        **Raises** `ValueError` if the dataset has fewer than `count` episodes, or if `count` is below 1.
        """
        ends = np.unique(np.asarray(self.last)[np.asarray(self.starts)])
        if not 1 <= count <= len(ends):
            raise ValueError(f"`count` must be in [1, {len(ends)}], the number of episodes; got {count}.")

        def kept(starts: Any) -> Any:
            return None if starts is None else starts[np.asarray(starts) <= ends[count - 1]]

        return replace(self, starts=kept(self.starts), next_starts=kept(self.next_starts))

    @property
    def size(self) -> int:
        """The number of transitions."""
        return self.starts.shape[0]

    @property
    def observation_dim(self) -> int:
        """The number of coordinates of an observation."""
        return self.observations.shape[1]

    @property
    def action_dim(self) -> int:
        """The number of coordinates of an action."""
        return self.actions.shape[1]

    def sample(self, key: Key, batch_size: int) -> Transition:
        """Samples transitions uniformly, with replacement. Can be called inside `jax.jit` and `jax.lax.scan`."""
        return self.transitions(jax.random.randint(key, (batch_size,), 0, self.size))

    def transitions(self, indices: Int[Array, "*batch"]) -> Transition:
        """Returns the transitions with the given indices in [0, `size`), without next actions."""
        return eqx.tree_at(lambda step: step.next_action, self.transition(self.starts[indices]), None)

    def transition(self, at: Int[Array, "*batch"]) -> Transition:
        """Returns the transitions that start at the states with indices `at`, with the next actions in the data."""
        return Transition(
            observation=self.observations[at],
            action=self.actions[at],
            reward=self.rewards[at],
            discount=self.masks[at],
            next_observation=self.observations[at + 1],
            next_action=self.actions[at + 1],
        )

    def later(self, at: Int[Array, "*batch"], steps: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """Returns the indices of the states that come `steps` steps after the states `at` in the same episodes."""
        return at + steps

    def steps_left(self, at: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """Returns, for the transition that starts at each state, the number of later transitions in its episode."""
        return self.last[at] - at - 1

    def empty_replay(self, *, seeds: int, slots: int, environments: int) -> ReplayBuffer:
        """Creates an empty replay buffer for transitions with this dataset's shapes and dtypes.

        The arguments are those of `ReplayBuffer.empty`.
        """
        like = jax.eval_shape(self.transition, jnp.zeros((), np.int32))
        return ReplayBuffer.empty(like, seeds=seeds, slots=slots, environments=environments)

    @property
    def reward_range(self) -> tuple[float, float]:
        """The minimum and the maximum reward over all transitions."""
        rewards = np.asarray(self.rewards)[np.asarray(self.starts)]
        return float(rewards.min()), float(rewards.max())

    def fingerprint(self) -> str:
        """Returns the SHA-256 hash of the arrays, including their dtypes and shapes, in hexadecimal."""
        digest = hashlib.sha256()
        # `last` follows from `starts`.
        leaves = (self.observations, self.actions, self.rewards, self.masks, self.starts)
        for leaf in leaves if self.next_starts is None else (*leaves, self.next_starts):
            array = np.ascontiguousarray(leaf)
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(array.data)
        return digest.hexdigest()


def make_dataset(
    *, observations: np.ndarray, actions: np.ndarray, rewards: np.ndarray, masks: np.ndarray, terminals: np.ndarray
) -> Dataset:
    """Builds a dataset on the device from concatenated episodes in OGBench's layout, after validating the arrays.

    No transition starts in the last row of an episode, so the reward and the mask in that row are ignored. For your own
    arrays, use [`dataset_from_states`][floqzoo.tasks.dataset_from_states], which requires a reward of 0 and a mask of 1
    in these rows, or [`dataset_from_transitions`][floqzoo.tasks.dataset_from_transitions].

    - `observations`, `actions`: One row per state. Both have the same floating-point dtype, which must be enabled in
      JAX, except that observations may be uint8. Actions are in [-1, 1].
    - `rewards`, `masks`: One number per state, with the same dtype as `actions`; masks are 0 or 1.
    - `terminals`: One bool per state: True if the state is the last of its episode. The last entry must be True.

    **Raises** `ValueError` for invalid arrays; the message names the array, the invalid value and the requirement.
    """
    matrices = {"observations": observations, "actions": actions}
    vectors = {"rewards": rewards, "masks": masks, "terminals": terminals}
    states = observations.shape[0] if observations.ndim else 0
    for rank, arrays in ((2, matrices), (1, vectors)):
        for name, array in arrays.items():
            _check_shape(name, array, rank, states)
    numbers = {**matrices, "rewards": rewards, "masks": masks}
    if observations.dtype == np.uint8:
        del numbers["observations"]
    first = next(iter(numbers))
    for name, array in numbers.items():
        _check_numbers(name, array, first, numbers[first].dtype)
    if terminals.dtype != np.bool_:
        raise ValueError(f"`terminals` must have dtype bool; got {terminals.dtype}.")
    if not terminals[-1]:
        raise ValueError("`terminals` does not end with True; the last state must end its episode (a truncated file?).")
    if np.abs(actions).max() > 1.0:
        raise ValueError(f"`actions` reach {np.abs(actions).max()}; they must lie in [-1, 1].")
    require_zeros_and_ones("`masks`", masks)
    starts, ends = np.flatnonzero(~terminals), np.flatnonzero(terminals)
    if len(starts) == 0:
        raise ValueError("`terminals` is True everywhere; an episode of one state contains no transition.")
    return Dataset(
        observations=jnp.asarray(observations),
        actions=jnp.asarray(actions),
        rewards=jnp.asarray(rewards),
        masks=jnp.asarray(masks),
        starts=jnp.asarray(starts.astype(np.int32)),
        last=jnp.asarray(ends[np.searchsorted(ends, np.arange(states))].astype(np.int32)),
    )


def _check_shape(name: str, array: np.ndarray, rank: int, states: int) -> None:
    if array.ndim != rank or array.size == 0:
        raise ValueError(f"`{name}` must have `ndim` {rank} and no empty axis; got the shape {array.shape}.")
    if len(array) != states:
        raise ValueError(f"`{name}` must have {states} rows, as `observations` has; got {len(array)}.")


def _check_numbers(name: str, array: np.ndarray, first: str, dtype: np.dtype) -> None:
    if not np.issubdtype(dtype, np.floating) or jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            f"`{first}` must have a floating-point dtype that JAX does not convert, such as float32 (float64 needs "
            f"jax_enable_x64); got {dtype}."
        )
    if array.dtype != dtype:
        raise ValueError(f"`{name}` must have dtype {dtype}, as `{first}` has; got {array.dtype}.")
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise ValueError(f"`{name}` has a NaN or an infinity, first in row {row}; every value must be finite.")
