"""floq and FQL with features that are frozen after some updates: what is trained before, and what after."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import floqzoo as fz
from recipes.floq import FloqConfig, floq
from recipes.fql import FQLConfig, fql


SMALL = {"actor_hidden_dims": (4,), "value_hidden_dims": (4, 4), "tau": 1.0}
SMALL_FLOQ = {"block_width": 4, "block_depth": 2, "critic_flow_steps": 1, "noise_samples": 1}
METHODS = {"floq": (floq, FloqConfig, SMALL | SMALL_FLOQ), "fql": (fql, FQLConfig, SMALL)}


def changed(before, after):
    """The paths of the parameters that differ."""
    trees = [eqx.filter((tree.critic, tree.policy), eqx.is_inexact_array) for tree in (before, after)]
    pairs = zip(jax.tree_util.tree_leaves_with_path(trees[0]), jax.tree.leaves(trees[1]), strict=True)
    return {jax.tree_util.keystr(path) for (path, one), two in pairs if not np.array_equal(one, two)}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_frozen_features_stay_and_last_layers_policy_and_distilled_critic_are_trained(method, getkey):
    build, config, small = METHODS[method]
    batch = fz.Transition(*(jax.random.uniform(getkey(), (5, n)) for n in (3, 2)), *jnp.ones((2, 5)), jnp.zeros((5, 3)))
    key = getkey()

    def after(updates, frozen):
        settings = config(**small, features_frozen_after=frozen)
        agent = build(observation_dim=3, action_dim=2, reward_range=(-1.0, 0.0), config=settings, key=jax.random.key(0))
        update = eqx.filter_jit(type(agent).update)
        for number in range(updates):
            agent, _ = update(agent, batch, jax.random.fold_in(key, number))
        return agent

    every = changed(after(1, None), after(2, None))
    assert not changed(after(2, None), after(2, 2))
    assert not changed(after(1, 1), after(1, None))
    trained = changed(after(1, 1), after(2, 1))
    assert trained == {path for path in every if path.startswith("[1]") or ".distilled" in path or ".layers[1]" in path}
    assert any(path.startswith("[0]") and "distilled" not in path for path in trained)


def test_settings_and_critics_that_cannot_be_frozen_are_refused():
    with pytest.raises(ValueError, match="`features_frozen_after` must be at least 0; got -1"):
        FQLConfig(features_frozen_after=-1)
    with pytest.raises(ValueError, match="`use_resnets` must be False"):
        FloqConfig(features_frozen_after=1, use_resnets=True)
    with pytest.raises(ValueError, match="`num_updates` must be at least 0; got -1"):
        fz.freeze_features_after(-1, optax.sgd(1.0))
    # What the wrapped optimiser needs, it is given.
    plateau = fz.freeze_features_after(1, optax.contrib.reduce_on_plateau(patience=1))
    layers = fz.MLP(1, 1, hidden=(1,), key=jax.random.key(0))
    weights = fz.partition_trainable(layers)[0]
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        plateau.update(weights, plateau.init(weights), weights, value=jnp.ones(()))
    optimiser, table = fz.freeze_features_after(1, optax.sgd(1.0)), (jnp.zeros(2), jnp.zeros(2))
    with pytest.raises(ValueError, match="none of its networks has a field `layers`"):
        optimiser.update(table, optimiser.init(table))
