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
    - `chunk`: The number of updates per compiled call; `updates` must be a multiple of it.
    - `progress`: Called after each chunk with the number of updates so far.
    - `at`: A function that takes a member's data and the number of updates so far, and returns the data to sample from.
      Use it for datasets that grow during training.

    **Raises** `ValueError` if `updates` is not a positive multiple of `chunk`.
    """
    if updates < 1 or updates % chunk:
        raise ValueError(f"`updates` must be a positive multiple of {chunk} (`chunk`); got {updates}.")
    arrays, rest = split_arrays(agents)
    data, data_rest = split_arrays(datasets)

    @partial(jax.jit, donate_argnums=0)
    def run(arrays, data, keys, first):
        def member(arrays, data, key):
            dataset = eqx.combine(data, data_rest)

            def update(arrays, step):
                batch_key, update_key = jax.random.split(jax.random.fold_in(key, step))
                batch = at(dataset, step).sample(batch_key, batch_size)
                agent, metrics = eqx.combine(arrays, rest).update(batch, update_key)
                return split_arrays(agent)[0], metrics.critic.critic_loss

            return jax.lax.scan(update, arrays, first + jnp.arange(chunk))

        return over_seeds(member)(arrays, data, keys)

    arrays, losses = copied(arrays), []
    for first in range(0, updates, chunk):
        arrays, loss = run(arrays, data, keys, first)
        losses.append(jax.block_until_ready(loss))
        if progress is not None:
            progress(first + chunk)
    return eqx.combine(arrays, rest), jnp.concatenate(losses, axis=1)
