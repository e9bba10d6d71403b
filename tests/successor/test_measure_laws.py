"""Laws of measures and of values read from them, whatever the field: none of these asks what was learnt."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import floqzoo as fz
from floqzoo.networks import Normaliser
from floqzoo.successor import METHODS, SuccessorCritic, flow_measure
from floqzoo.successor.targets import TD2Target
from floqzoo.testing import assert_close
from floqzoo.testing.examples import floating, sixteenths
from tests.successor.known_measures import small_field


STATE, ACTION = jnp.array([1.0, 0.5]), jnp.array([0.3, -0.2])


@pytest.mark.parametrize("deviation", [0.4, 3.0])
def test_the_density_of_futures_integrates_to_one(deviation, getkey):
    """In one dimension, in the units of the observation, of which the flow sees another scale."""
    normaliser = Normaliser(np.array([5.0]), np.array([deviation]))
    field = small_field(getkey(), dim=1, condition=3)
    measure = flow_measure(TD2Target(), field, 1, normaliser=normaliser)
    grid = 5 + deviation * jnp.linspace(-8, 8, 401)

    @eqx.filter_jit
    def log_probs(measure):
        return jax.lax.map(lambda x: measure.log_prob(x[None], STATE[:1], ACTION, solver=fz.Midpoint(8)), grid)

    density = np.exp(np.asarray(log_probs(measure), np.float64))
    np.testing.assert_allclose(np.trapezoid(density, np.asarray(grid, np.float64)), 1, atol=2e-3)


class WeighedReward(eqx.Module):
    r"""$a \, \tanh(x_1) + b \, \lVert x \rVert^2 + c$."""

    weights: jax.Array

    def __call__(self, observation):
        features = jnp.stack([jnp.tanh(observation[0]), jnp.sum(observation**2), jnp.ones(())])
        return self.weights @ features


@functools.cache
def measure(name="td2-cfm"):
    return METHODS[name](small_field(jax.random.key(0)), 2, discount=0.75)


@eqx.filter_jit
def readouts(measure, weights, key):
    critic = SuccessorCritic(measure, WeighedReward(weights), num_samples=8, num_score_samples=4)
    value = critic.value(STATE, ACTION, key)
    return jnp.stack([value, critic.score(STATE, ACTION)])


triples = st.tuples(*3 * [sixteenths(-4, 4)]).map(lambda numbers: floating(np.array(numbers)))


@given(triples, triples, st.integers(0, 99))
def test_readouts_are_linear_in_the_reward(first, second, seed):
    r"""$Q_{2 r + r'} = 2 Q_r + Q_{r'}$: one measure serves every reward."""
    of_first, of_second, of_both = (
        readouts(measure(), weights, jax.random.key(seed)) for weights in (first, second, 2 * first + second)
    )
    assert_close(of_both, 2 * of_first + of_second, scale=np.abs([of_first, of_second]).max())


@given(sixteenths(-4, 4))
def test_a_constant_reward_is_worth_itself_over_one_minus_the_discount(reward):
    found = readouts(measure(), floating(np.array([0.0, 0.0, reward])), jax.random.key(0))
    assert_close(found, np.full(2, 4 * reward))
