"""The density of a tanh-Gaussian policy, its samples, and its temperature."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doubles import frozen_agent, transitions
from hypothesis import given, strategies as st
from scipy.stats import norm

import floqzoo as fz
from floqzoo.testing import assert_close
from floqzoo.testing.policy_laws import SumCritic


DRAWS, STATE = 4096, jnp.zeros(3)


class Constant(eqx.Module):
    """A network whose output does not depend on its input."""

    output: jax.Array
    stem: None = None

    def __call__(self, x):
        return self.output

    def body(self, hidden):
        return hidden


def policy_of(mean, log_std, **fields):
    return fz.TanhGaussianPolicy(Constant(jnp.asarray([*mean, *log_std], float)), **fields)


@eqx.filter_jit
def densities(policy, actions):
    return jnp.exp(jax.vmap(policy.log_prob, (0, None))(actions, STATE))


@given(mean=st.floats(-1.5, 1.5, width=32), log_std=st.floats(-1.5, 1.0, width=32))
def test_the_density_integrates_to_the_probability_of_an_interval(mean, log_std):
    """Between a and b it is that of a Gaussian between artanh a and artanh b."""
    a, b, count = -0.9, 0.95, 2001
    edges = np.linspace(a, b, count)
    found = np.asarray(densities(policy_of([mean], [log_std]), jnp.asarray(edges[:, None], jnp.float32)), float)
    wanted = np.diff(norm.cdf(np.arctanh([a, b]), mean, np.exp(log_std)))[0]
    assert np.trapezoid(found, edges) == pytest.approx(wanted, abs=2e-3)


@eqx.filter_jit
def draw(policy, key):
    draws = jax.vmap(policy.act_with_log_prob, (None, 0))(STATE, jax.random.split(key, DRAWS))
    return draws, jax.vmap(policy.log_prob, (0, None))(draws.action, STATE)


def test_samples_are_of_the_density_and_know_theirs():
    policy = policy_of([0.4, -0.3], [-0.7, -0.2])
    draws, log_probs = draw(policy, jax.random.key(0))
    inner = np.all(np.abs(draws.action) < 0.99, axis=1)
    assert inner.mean() > 0.9
    np.testing.assert_allclose(draws.log_prob[inner], log_probs[inner], atol=1e-3)
    for actions, mean, log_std in zip(np.asarray(draws.action).T, (0.4, -0.3), (-0.7, -0.2), strict=True):
        for x in (-0.5, 0.0, 0.3, 0.8):
            p = norm.cdf(np.arctanh(x), mean, np.exp(log_std))
            assert np.mean(actions <= x) == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / DRAWS))


@eqx.filter_jit
def draw_and_gradient(policy, key):
    def of(output):
        drawn = eqx.tree_at(lambda policy: policy.network.output, policy, output).act_with_log_prob(STATE, key)
        return drawn.log_prob, drawn

    gradient, drawn = jax.grad(of, has_aux=True)(policy.network.output)
    return drawn, gradient, jax.random.normal(jax.random.clone(key), (2,))


@given(
    mean=st.lists(st.floats(-(2.0**120), 2.0**120, width=32), min_size=2, max_size=2),
    log_std=st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=2, max_size=2),
)
def test_a_sample_has_a_finite_log_density_with_a_finite_gradient_however_far_its_mean_is(mean, log_std):
    """It is that of the Gaussian plus 2 log cosh u; where tanh is flat, 1 - tanh(u)^2 is 0 and no logarithm of it exists."""
    drawn, gradient, noise = draw_and_gradient(policy_of(mean, log_std), jax.random.key(0))
    assert np.isfinite(drawn.log_prob) and np.isfinite(gradient).all() and np.all(np.abs(drawn.action) <= 1)
    limited = np.clip(np.asarray(log_std, float), -5, 2)
    u = np.asarray(mean, float) + np.exp(limited) * np.asarray(noise, float)
    wanted = norm.logpdf(noise) - limited + 2 * (np.logaddexp(u, -u) - np.log(2))
    np.testing.assert_allclose(drawn.log_prob, wanted.sum(), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(gradient[:2], 2 * np.tanh(u), atol=1e-5)


def test_an_action_at_the_edge_has_the_density_of_its_neighbour():
    policy = policy_of([0.0], [0.0])
    edges = jnp.array([[1.0], [1 - 1e-5], [-1.0], [1 - 1e-3]])
    at_one, beside, at_minus_one, inside = np.log(np.asarray(densities(policy, edges)))
    assert at_one == beside == pytest.approx(at_minus_one)
    assert np.isfinite(at_one) and at_one != inside


@eqx.filter_jit
def acted(policy, key):
    keys = jax.random.split(key, 8)
    return tuple(jax.vmap(lambda key, act=act: act(STATE, None, key))(keys) for act in (policy.act, policy.explore))


def test_it_acts_with_its_mode_and_explores_with_samples():
    acts, explored = acted(policy_of([0.4, -3.0], [0.0, 0.0]), jax.random.key(0))
    assert_close(acts, np.tile(np.tanh([0.4, -3.0]), (8, 1)))
    assert len(np.unique(explored)) == explored.size


# The temperature


@eqx.filter_jit
def temperature_gradient(policy, batch):
    def loss(log_temperature):
        moved = eqx.tree_at(lambda policy: policy.log_temperature, policy, log_temperature)
        return moved.policy_loss(batch, frozen_agent(SumCritic(), moved), jax.random.key(0))

    return jax.grad(loss, has_aux=True)(policy.log_temperature)


@pytest.mark.parametrize(("multiplier", "log_temperature"), [(0.5, 0.0), (1.0, -0.7)])
def test_the_temperature_falls_while_the_entropy_is_above_its_target_and_else_rises(multiplier, log_temperature):
    """Of two coordinates the target is -2 m, and the gradient by log beta is beta (H + 2 m)."""
    batch, signs = transitions(0, 64), []
    for log_std in (-3.0, 0.0):
        policy = policy_of([0.0, 0.0], [log_std] * 2, entropy_multiplier=multiplier, log_temperature=log_temperature)
        gradient, metrics = temperature_gradient(policy, batch)
        assert_close(gradient, np.exp(log_temperature) * (metrics.entropy + 2 * multiplier), scale=10.0)
        signs.append(float(np.sign(gradient)))
    assert signs == [-1.0, 1.0]


def test_cloning_is_weighted_and_off_by_default():
    batch = transitions(0, 16)
    policy = policy_of([0.1, -0.2], [0.0, 0.0])
    plain, cloning = (temperature_gradient(each, batch)[1] for each in (policy, replace(policy, alpha_bc=2.0)))
    assert_close(cloning.actor_loss - plain.actor_loss, 2 * plain.bc_loss, scale=10.0)
    assert_close(plain.actor_loss, plain.sac_loss + plain.temperature_loss, scale=10.0)
    wanted = norm.logpdf(np.arctanh(batch.action), [0.1, -0.2]) - np.log1p(-(np.asarray(batch.action, float) ** 2))
    assert_close(plain.bc_loss, -wanted.sum(axis=1).mean(), scale=10.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"alpha_bc": -1.0}, "`alpha_bc` must be at least 0 and finite; got -1"),
        ({"entropy_multiplier": np.inf}, "`entropy_multiplier` must be finite; got inf"),
        ({"log_std_low": 3.0}, "`log_std_low` must be below `log_std_high`, which is 2.0; got 3"),
    ],
)
def test_numbers_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        policy_of([0.0], [0.0], **fields)


def test_a_network_with_an_odd_number_of_outputs_is_refused():
    with pytest.raises(ValueError, match="must have two outputs for each coordinate of an action; it has 3"):
        policy_of([0.0, 0.0], [0.0]).moments(STATE)
