"""Many agents of one form, trained side by side as one program."""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from floqzoo.learner.pytree_utils import split_arrays
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
    """Makes `updates` updates of every agent, each from its own data and key.

    Returns the agents, and their losses, of every update. Members differ in their arrays only: seeds, discounts,
    learning rates.

    - `agents`, `datasets`: What has `update(batch, key)`, and what has `sample(key, batch_size)`; every array of theirs
      that JAX made has the members as its first axis, as `eqx.filter_vmap` gives it.
    - `keys`: One for each member.
    - `chunk`: Updates in a compiled call; `updates` must be a multiple of it.
    - `progress`: Called after each chunk with the number of updates so far.
    - `at`: From a member's data and the number of its updates so far to the data that it draws from: data may grow.

    **Raises** `ValueError` if `updates` is no positive multiple of `chunk`.
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

        return jax.vmap(member)(arrays, data, keys)

    arrays, losses = copied(arrays), []
    for first in range(0, updates, chunk):
        arrays, loss = run(arrays, data, keys, first)
        losses.append(jax.block_until_ready(loss))
        if progress is not None:
            progress(first + chunk)
    return eqx.combine(arrays, rest), jnp.concatenate(losses, axis=1)
