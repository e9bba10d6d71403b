"""The softmax over candidates: its frequencies, its limits, and the policy that it is with many candidates."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.special import softmax

import floqzoo as fz
from floqzoo.policies.soft_best_of_n_policy import choice_at
from floqzoo.testing.examples import sixteenths
from floqzoo.testing.families import policy
from floqzoo.testing.policy_laws import UniformPolicy


STATE, DRAWS = jnp.ones(3), 20_000


class FromNoise(eqx.Module):
    """The policy whose action is its noise, clipped."""

    noise_prior: fz.GaussianPrior | fz.UniformPrior = fz.UniformPrior(-1.0, 1.0)

    def draw_noise(self, key):
        return self.noise_prior.sample(key, (1,))

    def act_from_noise(self, observation, critic, noise):
        return jnp.clip(noise, -1, 1)

    def act(self, observation, critic, key):
        return self.act_from_noise(observation, critic, self.draw_noise(key))

    def policy_loss(self, batch, agent, key):
        return jnp.zeros(()), None


class Slope(eqx.Module):
    """Q = slope * action."""

    slope: jax.Array

    def score(self, observation, action):
        return self.slope * action[0]

    def critic_loss(self, batch, agent, key):
        return jnp.zeros(()), None


@eqx.filter_jit
def actions(policy, critic, keys):
    return jax.vmap(lambda key: policy.act(STATE, critic, key)[0])(keys)


@eqx.filter_jit
def of_noise(policy, critic, noise):
    return jax.vmap(lambda noise: policy.act_from_noise(STATE, critic, noise)[0])(noise)


@pytest.mark.parametrize("prior", [fz.UniformPrior(-2.0, 1.0), fz.GaussianPrior(0.5, 2.0)], ids=["uniform", "Gaussian"])
@pytest.mark.parametrize("temperature", [0.3, 2.0])
def test_candidates_are_chosen_as_often_as_the_softmax_says(prior, temperature, getkey):
    """The same four candidates many times, with draws of the last row by its prior."""
    candidates = np.array([-0.75, 0.5, 0.25, -0.25])
    last = prior.sample(getkey(), (DRAWS, 1, 1))
    noise = jnp.concatenate([jnp.broadcast_to(jnp.asarray(candidates)[None, :, None], (DRAWS, 4, 1)), last], axis=1)
    chosen = of_noise(fz.SoftBestOfNPolicy(FromNoise(prior), 4, temperature), Slope(jnp.asarray(2.0)), noise)
    frequencies = [np.mean(chosen == candidate) for candidate in candidates]
    np.testing.assert_allclose(frequencies, softmax(2 * candidates / temperature), atol=5 * 0.5 / np.sqrt(DRAWS))


@given(st.lists(sixteenths(0, 4), min_size=1, max_size=6).filter(any), st.floats(0, 1))
def test_a_level_is_the_choice_in_whose_interval_it_lies(weights, level):
    """Every level has one, of a probability above 0, up to the rounding of the sums."""
    probabilities = np.asarray(weights) / np.sum(weights)
    found = int(choice_at(jnp.asarray(level), jnp.asarray(probabilities)))
    above = np.cumsum(probabilities)
    assert (above - probabilities)[found] - 1e-6 <= level <= above[found] + 1e-6


@pytest.mark.slow
def test_the_limits_are_the_best_candidate_and_the_behaviour(getkey):
    """By the same key, as a very low temperature overflows nothing; and with the distribution of the behaviour."""
    soft = fz.SoftBestOfNPolicy(FromNoise(), 8)
    keys = jax.random.split(getkey(), DRAWS)
    critic = Slope(jnp.asarray(1.0))
    cold = actions(replace(soft, temperature=1e-30), critic, keys)
    candidates = jax.vmap(soft.candidates, (None, None, 0))(STATE, critic, jax.random.clone(keys))
    np.testing.assert_array_equal(cold, candidates[..., 0].max(axis=1))
    hot = actions(replace(soft, temperature=1e30), critic, jax.random.clone(keys))
    quarters = np.histogram(hot, bins=4, range=(-1, 1))[0] / DRAWS
    np.testing.assert_allclose(quarters, 0.25, atol=5 * 0.5 / np.sqrt(DRAWS))


def test_with_many_candidates_it_is_the_optimum_under_a_kl_penalty(getkey):
    """Uniform candidates and Q = a: the density is proportional to exp(a / temperature)."""
    temperature, soft = 0.5, fz.SoftBestOfNPolicy(FromNoise(), 256, 0.5)
    found = actions(soft, Slope(jnp.asarray(1.0)), jax.random.split(getkey(), DRAWS))
    edges = np.linspace(-1, 1, 6)
    masses = np.diff(np.exp(edges / temperature))
    frequencies = np.histogram(found, bins=edges)[0] / DRAWS
    np.testing.assert_allclose(frequencies, masses / masses.sum(), atol=5 * 0.5 / np.sqrt(DRAWS) + 1 / 256)


def test_temperature_and_number_are_changed_without_training(getkey):
    """A lower temperature or more candidates raise Q, and the trained arrays are the same."""
    soft, critic = fz.SoftBestOfNPolicy(FromNoise(), 4, 1.0), Slope(jnp.asarray(1.0))
    key = getkey()
    means = [
        actions(changed, critic, jax.random.split(jax.random.clone(key), DRAWS)).mean()
        for changed in (soft, replace(soft, temperature=0.1), replace(soft, num_samples=32, temperature=0.1))
    ]
    assert means[0] + 0.05 < means[1] and means[1] + 0.05 < means[2]


def test_the_choice_is_independent_of_the_candidates(getkey):
    """Whatever the candidates, the level that chooses among them is uniform: equal scores give equal shares to all places."""
    soft = fz.SoftBestOfNPolicy(FromNoise(), 3)
    noise = jax.vmap(soft.draw_noise)(jax.random.split(getkey(), DRAWS))
    chosen = of_noise(soft, Slope(jnp.asarray(0.0)), noise)
    ranks = np.argsort(np.argsort(noise[:, :3, 0], axis=1), axis=1)
    places = np.argmax(np.asarray(noise[:, :3, 0]) == np.asarray(chosen)[:, None], axis=1)
    for shares in (np.bincount(places), np.bincount(ranks[np.arange(DRAWS), places])):
        np.testing.assert_allclose(shares / DRAWS, 1 / 3, atol=5 * 0.5 / np.sqrt(DRAWS))


@pytest.mark.parametrize(
    ("behaviour", "changes", "kind", "problem"),
    [
        (FromNoise(), {"temperature": 0.0}, ValueError, "`temperature` must be above 0 and finite; got 0"),
        (FromNoise(), {"temperature": float("nan")}, ValueError, "`temperature` must be above 0 and finite; got nan"),
        (FromNoise(), {"num_samples": 0}, ValueError, "`num_samples` must be at least 1; got 0"),
        (UniformPolicy(1), {}, TypeError, "`behaviour` must have a `noise_prior` .* got a UniformPolicy"),
        (object(), {}, TypeError, "`behaviour`"),
    ],
    ids=["zero", "nan", "no candidate", "no noise", "no policy"],
)
def test_what_it_cannot_choose_by_is_refused(behaviour, changes, kind, problem):
    with pytest.raises(kind, match=problem):
        fz.SoftBestOfNPolicy(behaviour, **changes)


def test_a_deterministic_behaviour_has_no_noise_to_choose_by():
    deterministic = fz.DeterministicPolicy(fz.MLP(3, 2, hidden=(4,), key=jax.random.key(0)), 1.0)
    with pytest.raises(TypeError, match="got a DeterministicPolicy"):
        fz.SoftBestOfNPolicy(deterministic)
    assert fz.SoftBestOfNPolicy(policy(key=jax.random.key(1))).noise_prior == fz.GaussianPrior()
