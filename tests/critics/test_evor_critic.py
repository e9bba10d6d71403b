"""EVOR's score in closed form: the log-mean-exp of known returns, its limits, and what it leaves of training."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doubles import SteadyPolicy, frozen_agent, linear_fields, transitions
from hypothesis import given, strategies as st
from scipy.special import logsumexp
from scipy.stats import norm

import floqzoo as fz
from floqzoo.critics.evor_critic import log_mean_exp
from floqzoo.testing import assert_close
from floqzoo.testing.examples import sixteenths
from floqzoo.testing.families import evor_critic


STATE, ACTION = jnp.ones(3), jnp.zeros(2)
WIDE = (-100.0, 100.0)
AGGREGATIONS = [(fz.MeanOverEnsemble(), np.mean), (fz.MinOverEnsemble(), np.min)]
PAIRS = st.tuples(sixteenths(-4, 4), sixteenths(-4, 4))
SPREADS = st.tuples(sixteenths(0, 4), sixteenths(0, 4))  # of the field, whose paths meet where one is negative
TEMPERATURES = st.sampled_from([0.25, 1.0, 8.0])


def linear(ends=(0.0, 0.0), spreads=(1.0, 1.0), **parts):
    """Returns are `ends + spreads * noise`, by any number of steps."""
    fields = linear_fields(jnp.zeros((2, 5)), jnp.asarray(ends, float), jnp.asarray(spreads, float))
    return fz.EVORCritic(fields, fz.ClippedEuler(4, *WIDE), **parts)


@eqx.filter_jit
def score(critic):
    return critic.score(STATE, ACTION)


@pytest.mark.parametrize(("aggregation", "reduce"), AGGREGATIONS, ids=["mean", "min"])
@given(ends=PAIRS, spreads=SPREADS, temperature=TEMPERATURES)
def test_the_score_aggregates_the_log_mean_exp_of_each_members_returns(aggregation, reduce, ends, spreads, temperature):
    """Whose minimum is not that of the smallest return for each noise sample."""
    critic = linear(ends, spreads, aggregation=aggregation, num_score_samples=5, return_temperature=temperature)
    noise = norm.ppf((np.arange(5) + 0.5) / 5)
    returns = np.asarray(ends)[:, None] + np.asarray(spreads)[:, None] * noise
    wanted = temperature * (logsumexp(returns / temperature, axis=1) - np.log(5))
    assert_close(score(critic), reduce(wanted), scale=20.0)


@given(st.lists(sixteenths(-4, 4), min_size=1, max_size=6))
def test_it_grows_from_the_mean_to_the_maximum_as_the_temperature_falls(values):
    """Both limits are reached, without an overflow, and every temperature between is between."""
    values = jnp.asarray(values, float)
    temperatures = (1e3, 10.0, 1.0, 0.1, 1e-30)
    found = [float(log_mean_exp(values, temperature)) for temperature in temperatures]
    np.testing.assert_allclose(found[0], values.mean(), atol=2e-2)
    assert found[-1] == values.max()
    assert np.all(np.diff(found) >= -5e-4)  # the rounding of the highest temperature


@given(st.lists(sixteenths(-4, 4), min_size=1, max_size=6), sixteenths(-4, 4), TEMPERATURES)
def test_units_are_those_of_reward(values, shift, temperature):
    """Shifted returns shift it; returns and temperature that are doubled double it."""
    values = jnp.asarray(values, float)
    plain = log_mean_exp(values, temperature)
    assert_close(log_mean_exp(values + shift, temperature), plain + shift, scale=20.0)
    assert_close(log_mean_exp(2 * values, 2 * temperature), 2 * plain, scale=20.0)


@given(mean=sixteenths(-4, 4), spread=sixteenths(0, 2), ratio=st.sampled_from([1.0, 2.0, 4.0]))
def test_a_normal_return_is_worth_its_mean_and_its_variance_over_twice_the_temperature(mean, spread, ratio):
    temperature = ratio * max(spread, 0.5)
    returns = jnp.asarray(norm.ppf((np.arange(4000) + 0.5) / 4000) * spread + mean)
    np.testing.assert_allclose(log_mean_exp(returns, temperature), mean + spread**2 / (2 * temperature), atol=5e-3)


def test_it_is_of_the_flows_outputs_and_not_of_one_step():
    """Two equally likely returns, -1 and 1: one step from any noise is near their mean, 0, and has no spread to exploit."""
    critic = fz.EVORCritic(fz.Ensemble(TwoEnds(jnp.zeros(2)), 2), fz.ClippedEuler(4, *WIDE), return_temperature=0.5)
    wanted = 0.5 * np.log(np.cosh(2.0))  # of one half exp(2) and one half exp(-2)
    np.testing.assert_allclose(score(critic), wanted, atol=1e-3)
    np.testing.assert_allclose(eqx.filter_jit(critic.mean_return)(STATE, ACTION), 0.0, atol=1e-5)


class TwoEnds(eqx.Module):
    """Heads for the mean, 0, at t = 0, as the exact field of two equal points does, and from then on for the sign of x."""

    nothing: jax.Array

    def encode(self, *condition):
        return jnp.zeros(())

    def velocity(self, t, x, code):
        return jnp.where(t == 0, -x, (jnp.sign(x) - x) / (1 - t))


def test_the_score_follows_the_action():
    """The gradient is the softmax-weighted one of returns, here that of the mean."""
    weight = jnp.asarray([[0.0, 0.0, 0.0, 0.25, -0.5]] * 2)
    critic = fz.EVORCritic(linear_fields(weight, jnp.zeros(2), jnp.ones(2)), fz.ClippedEuler(4, *WIDE))
    gradient = eqx.filter_jit(jax.grad(lambda action: critic.score(STATE, action)))(ACTION)
    assert_close(gradient, np.array([0.25, -0.5]), scale=1.0)


# Training


@eqx.filter_jit
def loss_of(critic, batch, policy=SteadyPolicy()):
    return critic.critic_loss(batch, frozen_agent(critic, policy), jax.random.key(0))


def with_next_action(batch):
    return replace(batch, next_action=jnp.tanh(batch.next_observation[:, :2]))


@pytest.mark.slow
def test_the_loss_is_bcfm_with_weight_one():
    """That of Value Flows without DCFM and twice as large, whose weight of a very high temperature is one half."""
    critic, batch = evor_critic(key=jax.random.key(0)), with_next_action(transitions())
    parts = {"dcfm_weight": 0.0, "temperature": 1e30, "next_action": critic.next_action}
    twin = fz.ReturnFlowCritic(critic.fields, critic.solver, **parts)
    (loss, metrics), (of_twin, of_both) = loss_of(critic, batch), loss_of(twin, batch)
    np.testing.assert_allclose(loss, 2 * of_twin, rtol=1e-6)
    np.testing.assert_allclose(metrics.bcfm_loss, of_both.bcfm_loss, rtol=1e-6)
    assert (metrics.dcfm_loss, metrics.return_std, metrics.confidence) == (None, None, None)


@pytest.mark.slow
def test_nothing_of_acting_enters_the_loss():
    """Bit for bit: with another temperature and another number of returns the loss and its gradient are the same."""
    batch, losses = with_next_action(transitions()), []
    for changes in ({}, {"return_temperature": 7.0}, {"num_score_samples": 2}):
        critic = replace(evor_critic(key=jax.random.key(0)), **changes)
        value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(lambda critic: loss_of(critic, batch)[0]))(critic)
        losses.append([np.asarray(leaf) for leaf in (value, *jax.tree.leaves(gradient.fields))])
    for other in losses[1:]:
        for one, same in zip(losses[0], other, strict=True):
            np.testing.assert_array_equal(one, same)


def test_returns_are_those_of_the_next_action_of_the_data():
    """The default asks for it, and the loss moves with it and not with the policy."""
    critic, batch = evor_critic(key=jax.random.key(0)), with_next_action(transitions())
    assert isinstance(critic.next_action, fz.successor.DataNextAction)
    plain = loss_of(critic, batch)[0]
    assert loss_of(critic, batch, SteadyPolicy())[0] == plain
    moved = replace(batch, next_action=-batch.next_action)
    assert abs(loss_of(critic, moved)[0] - plain) > 1e-4
    with pytest.raises(ValueError, match="next_action"):
        loss_of(critic, replace(batch, next_action=None))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match="`return_temperature` must be above 0 and finite"):
        linear(return_temperature=value)
