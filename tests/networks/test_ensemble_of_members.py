"""An ensemble is its members, whatever their order and however they are mapped."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.testing.families import narrow


def make(key):
    return narrow(3, 2, key=key)


def member(ensemble, index):
    return jax.tree.map(lambda leaf: leaf[index], ensemble.members)


@pytest.fixture
def ensemble(getkey):
    return fz.Ensemble.build(make, 3, key=getkey())


X = jnp.array([0.3, -1.0, 2.0])


def test_members_are_built_from_keys_of_their_own():
    ensemble = fz.Ensemble.build(make, 3, key=jax.random.key(5))
    for index, key in enumerate(jax.random.split(jax.random.key(5), 3)):
        wanted, found = make(key), member(ensemble, index)
        assert eqx.tree_equal(wanted, found)
    weights = np.asarray(ensemble.members.stem.weight)
    assert len(np.unique(weights.reshape(3, -1), axis=0)) == 3


def test_each_is_a_loop_over_members(ensemble):
    together = ensemble.each(lambda network: network(X))
    loop = jnp.stack([member(ensemble, index)(X) for index in range(3)])
    np.testing.assert_allclose(together, loop, rtol=1e-6, atol=1e-6)


def test_each_with_gives_every_member_its_own_slice(ensemble):
    inputs = jnp.stack([X, 2 * X, -X])
    together = ensemble.each_with(lambda network, x: network(x), inputs)
    loop = jnp.stack([member(ensemble, index)(inputs[index]) for index in range(3)])
    np.testing.assert_allclose(together, loop, rtol=1e-6, atol=1e-6)


def test_a_permutation_of_members_permutes_what_they_say(ensemble):
    order = jnp.array([2, 0, 1])
    permuted = fz.Ensemble(jax.tree.map(lambda leaf: leaf[order], ensemble.members), 3)
    said = ensemble.each(lambda network: network(X))
    np.testing.assert_allclose(permuted.each(lambda network: network(X)), said[order], rtol=1e-6, atol=1e-6)


def test_a_joined_ensemble_has_the_members_of_both(ensemble, getkey):
    other = fz.Ensemble.build(make, 2, key=getkey())
    joined = ensemble.joined(other)
    assert joined.size == 5
    said = [part.each(lambda network: network(X)) for part in (ensemble, other)]
    np.testing.assert_allclose(joined.each(lambda network: network(X)), jnp.concatenate(said), rtol=1e-6, atol=1e-6)


def test_gradients_of_members_do_not_mix(ensemble):
    """A loss of one member reaches that member alone."""
    gradient = eqx.filter_grad(lambda ensemble: jnp.sum(ensemble.each(lambda network: network(X))[1]))(ensemble)
    sizes = [np.abs(leaf).reshape(3, -1).sum(axis=1) for leaf in jax.tree.leaves(gradient.members)]
    reached = np.sum(sizes, axis=0)
    assert reached[1] > 0
    assert reached[0] == reached[2] == 0


def test_an_ensemble_of_nobody_is_refused(getkey):
    with pytest.raises(ValueError, match="`size` of an ensemble must be at least 1; got 0"):
        fz.Ensemble.build(make, 0, key=getkey())
