"""The randomness of a seed, apart for each of its uses."""

import enum

import jax
from jaxtyping import Array, Key


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


def seed_key(seed: int, use: SeedUse) -> Key[Array, ""]:
    """The key of one use of a seed, `fold_in(key(seed), use)`."""
    return jax.random.fold_in(jax.random.key(seed), int(use))
