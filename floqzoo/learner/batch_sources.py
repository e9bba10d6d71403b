r"""Where the batches of a run come from."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from floqzoo.records import Transition
from floqzoo.tasks.replay_buffer import ReplayBuffer
from floqzoo.typing import Key


class FromDataset(eqx.Module):
    """Offline: from the dataset alone."""

    def draw_batch(self, dataset: Any, replay: Any, place: Int[Array, ""], key: Key, batch_size: int) -> Transition:
        """Draws uniformly, with replacement, as the dataset does it."""
        return dataset.sample(key, batch_size)


class SeededReplay(eqx.Module):
    r"""A replay buffer that begins as the dataset: what comes from the environments is appended to it.

    With $D$ transitions in the dataset and $n$ new ones, one is drawn uniformly, with replacement, from the latest
    $\min(D + n, \text{capacity})$ of the stream: once the buffer is full, the oldest go, the dataset's before any new
    one. The dataset itself is not copied.

    - `capacity`: The most transitions, at least the dataset's. The replay must keep as many, or all that it will be given.

    Source: the official code of FQL (arXiv 2502.02538), `--online_steps` without `--balanced_sampling`.
    """

    capacity: int = eqx.field(static=True)

    def draw_batch(
        self, dataset: Any, replay: ReplayBuffer, place: Int[Array, ""], key: Key, batch_size: int
    ) -> Transition:
        """Draws from both as from one."""
        age_key, old_key, new_key = jax.random.split(key, 3)
        known = replay.known[place]
        age = jax.random.randint(
            age_key, (batch_size,), 0, jnp.minimum(dataset.size + known, self.capacity), known.dtype
        )
        is_new = age < known
        new = replay.draw(place, jnp.where(is_new, age, 0), new_key)
        old = dataset.draw(jnp.where(is_new, 0, dataset.size - 1 - (age - known)), old_key)
        return jax.tree.map(lambda new, old: _choose(is_new, new, old), new, old)


class BalancedReplay(eqx.Module):
    """Half of each batch from the dataset, half from the replay, whatever their sizes.

    Source: RLPD (arXiv 2302.02948), section 4.1, there called symmetric sampling.
    """

    def draw_batch(
        self, dataset: Any, replay: ReplayBuffer, place: Int[Array, ""], key: Key, batch_size: int
    ) -> Transition:
        """Draws both halves uniformly, with replacement, the dataset's first; `batch_size` must be even."""
        dataset_key, age_key, new_key = jax.random.split(key, 3)
        half = batch_size // 2
        age = jax.random.randint(age_key, (half,), 0, replay.size[place], replay.written.dtype)
        old, new = dataset.sample(dataset_key, half), replay.draw(place, age, new_key)
        return jax.tree.map(lambda old, new: jnp.concatenate([old, new]), old, new)


def _choose(is_new: Array, new: Array, old: Array) -> Array:
    return jnp.where(is_new.reshape(is_new.shape + (1,) * (new.ndim - 1)), new, old)
