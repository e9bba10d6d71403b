"""A run draws nothing twice from one key."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings, strategies as st

from floqzoo.learner.seeds import MOST_UPDATES, SeedUse, continued_keys, exploration_keys, seed_key, update_keys


COUNT = 100


@jax.jit
def numbered(key: jax.Array) -> jax.Array:
    """The keys of the first updates that a run may have, and of the last ones."""
    numbers = jnp.concatenate([jnp.arange(COUNT), MOST_UPDATES - 1 - jnp.arange(COUNT)])
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=3, unique=True))
@settings(max_examples=20)
def test_no_two_draws_of_a_run_have_the_same_key(seeds):
    """Those of the updates, of exploration, of the actions of several episodes, and of everything that is drawn once."""
    keys = [seed_key(seed, use)[None] for seed in seeds for use in SeedUse]
    of_updates = update_keys(seeds)
    derived = (exploration_keys(of_updates), continued_keys(of_updates))
    keys += derived
    for several in (of_updates, *derived):
        keys += [numbered(key) for key in several]
    for seed in seeds:
        of_episodes = numbered(seed_key(seed, SeedUse.ACTIONS))
        keys += [of_episodes, *(numbered(key) for key in of_episodes[:5])]
    data = np.concatenate([jax.random.key_data(key) for key in keys])
    assert len(np.unique(data, axis=0)) == len(data)
