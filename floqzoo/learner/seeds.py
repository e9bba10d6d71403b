"""Builds agents whose arrays have the seeds as their leading axis, and derives random keys from seeds."""

import enum
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Key, PyTree

from floqzoo.networks.precision import with_compute_dtype
from floqzoo.typing import Array


class SeedUse(enum.IntEnum):
    """The purposes for which a seed is used; each purpose folds a different number into the seed's key."""

    AGENT = 0
    """The initial parameters of the agent."""
    UPDATES = 1
    """The batches and the noise samples of all updates."""
    DIAGNOSIS = 2
    """The transitions and the noise samples of a critic's diagnostics."""
    FUTURES = 3
    """The samples of the report on a successor measure."""
    ACTIONS = 4
    """The actions in evaluation episodes."""


SEEDS = 2**32
"""Seeds must be below this number, because JAX reduces larger seeds modulo it, so two seeds could give the same key."""


MOST_SEEDS = 2**16
"""The maximum number of seeds in a run."""


def require_seed(name: str, seed: int) -> None:
    """Checks that a seed is in [0, 2^32).

    **Raises** `ValueError` if it is not; the message contains `name`, the name of the argument.
    """
    if not 0 <= seed < SEEDS:
        raise ValueError(f"`{name}` must be in [0, 2^32); got {seed}.")


def seed_key(seed: int, use: SeedUse) -> Key[Array, ""]:
    """Returns the random key for one use of a seed, `fold_in(key(seed), use)`.

    **Raises** `ValueError` if the seed is not in [0, 2^32).
    """
    require_seed("seed", seed)
    return jax.random.fold_in(jax.random.key(seed), int(use))


MOST_UPDATES = 2**30
"""The exclusive upper bound of update indices; other uses of the update keys fold in this number or larger ones."""


def build_agents(build: Callable[[Array], PyTree], seeds: Sequence[int]) -> PyTree:
    """Builds the untrained agents of the given seeds as one tree, whose arrays have the seeds as their first axis.

    All agents share one optimiser object. Agents that are built separately have different optimiser objects, so they
    cannot be stacked.

    - `build`: Builds an agent from the key `seed_key(seed, SeedUse.AGENT)`.
    """
    return eqx.filter_vmap(build)(_keys_of(seeds, SeedUse.AGENT))


def in_precision(build: Callable[[Array], PyTree], precision: str) -> Callable[[Array], PyTree]:
    """Returns a function that builds the same agents as `build`, but with networks that compute in `precision`.

    - `precision`: "float32", which is the dtype of the networks' parameters, or "bfloat16".
    """
    if precision == "float32":
        return build
    return lambda key: with_compute_dtype(build(key), precision)


def update_keys(seeds: Sequence[int]) -> Key[Array, " seeds"]:
    """Returns the update key of each seed, from which its batches and the noise samples of its updates are drawn."""
    return _keys_of(seeds, SeedUse.UPDATES)


def exploration_keys(keys: Key[Array, " seeds"]) -> Key[Array, " seeds"]:
    """Derives, from the update key of each seed, the key from which the seed's exploration actions are drawn."""
    return jax.vmap(lambda key: jax.random.fold_in(key, MOST_UPDATES))(keys)


def continued_keys(keys: Key[Array, " seeds"]) -> Key[Array, " seeds"]:
    """Derives the update keys of a run that starts from the agents of an earlier run, given the earlier run's keys."""
    return jax.vmap(lambda key: jax.random.fold_in(key, MOST_UPDATES + 1))(keys)


def keys_with_seeds(keys: Key[Array, " seeds"], seeds: Sequence[int]) -> Key[Array, " seeds"]:
    """Returns the update keys of seeds that start from agents of other seeds: `seeds[i]` is folded into `keys[i]`."""
    return jax.vmap(jax.random.fold_in)(keys, jnp.asarray(seeds, jnp.uint32))


def agent_of(agents: PyTree, index: int) -> PyTree:
    """Returns the agent of one seed, given the index of the seed on the first axis."""
    return jax.tree.map(lambda leaf: leaf[index] if eqx.is_array(leaf) else leaf, agents)


def _keys_of(seeds: Sequence[int], use: SeedUse) -> Key[Array, " seeds"]:
    keys = jnp.stack([seed_key(seed, use) for seed in seeds])
    # Stacking counts as a use in JAX's check for reused keys.
    return jax.random.clone(keys)
