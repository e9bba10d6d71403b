"""Seeds as the leading axis of every array, and the keys that are derived from a seed."""

import enum
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from floqzoo.networks.precision import with_compute_dtype


class SeedUse(enum.IntEnum):
    """What a run draws from its seed; each use folds its own number into the seed's key."""

    AGENT = 0
    """The parameters that the agent begins with."""
    UPDATES = 1
    """The batches and the noises of all updates."""
    DIAGNOSIS = 2
    """The transitions and the noises that a critic is diagnosed with."""
    FUTURES = 3
    """The futures that a successor measure is shown by."""
    ACTIONS = 4
    """The actions of the episodes that are played."""


SEEDS = 2**32
"""Seeds are below this number; JAX would take the remainder, and two seeds would be one."""


def seed_key(seed: int, use: SeedUse) -> Key[Array, ""]:
    """The key of one use of a seed, `fold_in(key(seed), use)`.

    **Raises** `ValueError` if the seed is not in [0, 2^32).
    """
    if not 0 <= seed < SEEDS:
        raise ValueError(f"`seed` must be in [0, 2^32); got {seed}.")
    return jax.random.fold_in(jax.random.key(seed), int(use))


MOST_UPDATES = 2**30
"""All updates of a run have a number below this one; what is drawn beside them has one from here on."""


def build_agents(build: Callable[[Array], PyTree], seeds: Sequence[int]) -> PyTree:
    """The agents of some seeds, untrained, as one tree: every array has the seeds as its first axis.

    All of them share one optimiser; agents that are built apart have one each, and cannot be joined.

    - `build`: Makes an agent from a key, which is `seed_key(seed, SeedUse.AGENT)`.
    """
    return eqx.filter_vmap(build)(_keys_of(seeds, SeedUse.AGENT))


def in_precision(build: Callable[[Array], PyTree], precision: str) -> Callable[[Array], PyTree]:
    """The same agents, whose networks compute in "float32", as their parameters are, or in "bfloat16"."""
    if precision == "float32":
        return build
    return lambda key: with_compute_dtype(build(key), precision)


def update_keys(seeds: Sequence[int]) -> Key[Array, " seeds"]:
    """The key of all updates of each seed."""
    return _keys_of(seeds, SeedUse.UPDATES)


def exploration_keys(keys: Key[Array, " seeds"]) -> Key[Array, " seeds"]:
    """The key of all actions that each seed takes online, from that of its updates."""
    return jax.vmap(lambda key: jax.random.fold_in(key, MOST_UPDATES))(keys)


def keys_that_go_on(keys: Key[Array, " seeds"]) -> Key[Array, " seeds"]:
    """The keys of the updates of a run that begins where another one ended, from the keys of that one."""
    return jax.vmap(lambda key: jax.random.fold_in(key, MOST_UPDATES + 1))(keys)


def agent_of(agents: PyTree, index: int) -> PyTree:
    """The agent of one seed, by its place on the axis."""
    return jax.tree.map(lambda leaf: leaf[index] if eqx.is_array(leaf) else leaf, agents)


def _keys_of(seeds: Sequence[int], use: SeedUse) -> Key[Array, " seeds"]:
    keys = jnp.stack([seed_key(seed, use) for seed in seeds])
    # To be stacked counts as a use where JAX looks for keys that are used twice.
    return jax.random.clone(keys)
