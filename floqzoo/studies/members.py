"""Trains many agents of the same structure in one compiled program."""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float, Key, PyTree

from floqzoo.learner.pytree_utils import split_arrays
from floqzoo.learner.scanned_update import over_seeds
from floqzoo.typing import Array
from floqzoo.update_rules import copied


def train_members(
    agents: PyTree,
    datasets: PyTree,
    keys: Key[Array, " members"],
    *,
    updates: int,
    batch_size: int,
    chunk: int = 500,
    progress: Callable[[int], None] | None = None,
    at: Callable[[PyTree, Array], PyTree] = lambda dataset, step: dataset,
) -> tuple[PyTree, Float[Array, "members updates"]]:
    """Updates every agent `updates` times, on its own data and with its own key.

    Returns the agents, and the critic loss of every update. The agents, called members here, may differ only in the
    values of their arrays, such as parameters, discounts and learning rates.

    - `agents`, `datasets`: Objects with `update(batch, key)` and `sample(key, batch_size)`, respectively. The first
      axis of each of their JAX arrays indexes the members, as in the output of `eqx.filter_vmap`.
    - `keys`: One key for each member.
    - `chunk`: The number of updates per compiled call, at least 1; the last call may have fewer.
    - `progress`: Called after each chunk with the number of updates so far.
    - `at`: A function that takes a member's data and the number of updates so far, and returns the data to sample from.
      Use it for datasets that grow during training.

    **Raises** `ValueError` if `updates` or `chunk` is below 1.
    """
    for name, number in (("updates", updates), ("chunk", chunk)):
        if number < 1:
            raise ValueError(f"`{name}` must be at least 1; got {number}.")
    arrays, rest = split_arrays(agents)
    data, data_rest = split_arrays(datasets)

    @partial(jax.jit, donate_argnums=0, static_argnames="count")
    def run(arrays, data, keys, first, count):
        def member(arrays, data, key):
            dataset = eqx.combine(data, data_rest)

            def update(arrays, step):
                batch_key, update_key = jax.random.split(jax.random.fold_in(key, step))
                batch = at(dataset, step).sample(batch_key, batch_size)
                agent, metrics = eqx.combine(arrays, rest).update(batch, update_key)
                return split_arrays(agent)[0], metrics.critic.critic_loss

            return jax.lax.scan(update, arrays, first + jnp.arange(count))

        return over_seeds(member)(arrays, data, keys)

    arrays, losses = copied(arrays), []
    for first in range(0, updates, chunk):
        count = min(chunk, updates - first)
        arrays, loss = run(arrays, data, keys, first, count)
        losses.append(jax.block_until_ready(loss))
        if progress is not None:
            progress(first + count)
    return eqx.combine(arrays, rest), jnp.concatenate(losses, axis=1)
