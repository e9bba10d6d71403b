"""Agents with seeds as the leading axis of every array, and the random keys that are derived from a seed."""

import enum
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Key, PyTree

from floqzoo.networks.precision import with_compute_dtype
from floqzoo.typing import Array


class SeedUse(enum.IntEnum):
    """The uses of a seed; each use folds a different number into the seed's key."""

    AGENT = 0
    """The initial parameters of the agent."""
    UPDATES = 1
    """The batches and the noise samples of all updates."""
    DIAGNOSIS = 2
    """The transitions and the noise samples for the diagnostics of a critic."""
    FUTURES = 3
    """The samples for the report on a successor measure."""
    ACTIONS = 4
    """The actions in evaluation episodes."""


SEEDS = 2**32
"""Seeds must be below this number; JAX reduces larger ones modulo it, so different seeds would give the same key."""


MOST_SEEDS = 2**16
"""The maximum number of seeds of one run."""


def require_seed(name: str, seed: int) -> None:
    """Checks that a seed is in [0, 2^32).

    **Raises** `ValueError` if it is not; the message contains the name of the argument.
    """
    if not 0 <= seed < SEEDS:
        raise ValueError(f"`{name}` must be in [0, 2^32); got {seed}.")


def seed_key(seed: int, use: SeedUse) -> Key[Array, ""]:
    """The key of one use of a seed, `fold_in(key(seed), use)`.

    **Raises** `ValueError` if the seed is not in [0, 2^32).
    """
    require_seed("seed", seed)
    return jax.random.fold_in(jax.random.key(seed), int(use))


MOST_UPDATES = 2**30
"""The exclusive upper bound on update indices; other uses of the update keys fold in this number or larger ones."""


def build_agents(build: Callable[[Array], PyTree], seeds: Sequence[int]) -> PyTree:
    """The untrained agents of the given seeds as one tree: every array has the seeds as its first axis.

    The agents share one optimiser object; separately built agents have different ones and cannot be stacked.

    - `build`: Builds an agent from the key `seed_key(seed, SeedUse.AGENT)`.
    """
    return eqx.filter_vmap(build)(_keys_of(seeds, SeedUse.AGENT))


def in_precision(build: Callable[[Array], PyTree], precision: str) -> Callable[[Array], PyTree]:
    """A function that builds the same agents as `build`, with networks that compute in `precision`: "float32" (the
    dtype of their parameters) or "bfloat16".
    """
    if precision == "float32":
        return build
    return lambda key: with_compute_dtype(build(key), precision)


def update_keys(seeds: Sequence[int]) -> Key[Array, " seeds"]:
    """The update key of each seed."""
    return _keys_of(seeds, SeedUse.UPDATES)


def exploration_keys(keys: Key[Array, " seeds"]) -> Key[Array, " seeds"]:
    """The key from which each seed's online actions are drawn, derived from its update key."""
    return jax.vmap(lambda key: jax.random.fold_in(key, MOST_UPDATES))(keys)


def continued_keys(keys: Key[Array, " seeds"]) -> Key[Array, " seeds"]:
    """The update keys of a run that starts from the agents of an earlier run, derived from the keys of the earlier run."""
    return jax.vmap(lambda key: jax.random.fold_in(key, MOST_UPDATES + 1))(keys)


def keys_with_seeds(keys: Key[Array, " seeds"], seeds: Sequence[int]) -> Key[Array, " seeds"]:
    """The update keys of seeds that start from the agents of other seeds: `seeds[i]` is folded into `keys[i]`."""
    return jax.vmap(jax.random.fold_in)(keys, jnp.asarray(seeds, jnp.uint32))


def agent_of(agents: PyTree, index: int) -> PyTree:
    """The agent of one seed, given the index of the seed on the first axis."""
    return jax.tree.map(lambda leaf: leaf[index] if eqx.is_array(leaf) else leaf, agents)


def _keys_of(seeds: Sequence[int], use: SeedUse) -> Key[Array, " seeds"]:
    keys = jnp.stack([seed_key(seed, use) for seed in seeds])
    # Stacking counts as a use in JAX's check for reused keys.
    return jax.random.clone(keys)
