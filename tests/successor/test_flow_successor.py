"""The measure itself: its samples, its densities, and what it refuses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import floqzoo as fz
from floqzoo.networks import Normaliser
from floqzoo.policies import FixedPolicy, FunctionPolicy
from floqzoo.protocols import SuccessorMeasure
from floqzoo.successor import METHODS, flow_measure
from floqzoo.successor.targets import TD2Target
from floqzoo.tasks import LinearGaussian
from floqzoo.testing import assert_close
from floqzoo.testing.policy_laws import frozen_agent
from tests.successor.known_measures import exact_field, small_field


STATE, ACTION = jnp.array([1.0, 0.5]), jnp.array([0.3, -0.2])


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_in_the_agent(name, getkey):
    chain = LinearGaussian.spiral(0.5)
    critic = fz.successor.SuccessorCritic(METHODS[name](small_field(getkey()), 2, discount=0.5), lambda x: x[0])
    agent = fz.Agent(critic=critic, policy=chain.policy, update_rule=fz.JointUpdate(optax.adam(3e-3)))
    update = eqx.filter_jit(lambda agent, batch_key, key: agent.update(chain.sample(batch_key, 64), key))
    losses = []
    for _ in range(60):
        agent, metrics = update(agent, getkey(), getkey())
        losses.append(float(metrics.critic.measure.one_step_loss))
    assert np.mean(losses[-15:]) < np.mean(losses[:15])
    assert np.isfinite(losses).all()


@pytest.mark.slow
@pytest.mark.parametrize("normaliser", [Normaliser(), Normaliser(np.array([0.5, -1.0]), np.array([0.3, 2.0]))])
def test_samples_and_densities_are_in_the_units_of_the_observation(normaliser):
    """The exact field of a chain in normalised coordinates, against the chain in its own."""
    chain = LinearGaussian.spiral(0.8, tolerance=1e-5)
    scale, shift = jnp.asarray(normaliser.scale.value), jnp.asarray(normaliser.mean.value)

    class Rescaled(eqx.Module):
        """Matches the path to (X - mean) / scale, for which X's own path has another noise: the flow of an affine map."""

        def encode(self, observation, action):
            return observation * scale + shift, action

        def velocity(self, t, x, code):
            field = exact_field(chain)
            return field.velocity(t, x, code)

    measure = flow_measure(TD2Target(), Rescaled(), 2, discount=0.8, normaliser=normaliser, solver=fz.Midpoint(30))
    futures = eqx.filter_jit(measure.sample_futures)(STATE, ACTION, 4000, jax.random.key(0))
    inner = jax.vmap(normaliser.normalise)(futures)
    moments = chain.moments(STATE, ACTION)
    deviations = np.asarray(inner).std(axis=0)
    assert np.all(np.abs(np.asarray(inner).mean(axis=0) - moments.mean) < 6 * deviations / 4000**0.5)
    log_prob = eqx.filter_jit(measure.log_prob)(futures[0], STATE, ACTION)
    volume = jnp.sum(jnp.log(jnp.broadcast_to(scale, (2,))))
    np.testing.assert_allclose(log_prob, chain.log_prob(inner[0], STATE, ACTION) - volume, atol=5e-3)


@pytest.mark.slow
def test_a_density_may_be_estimated(getkey):
    measure = METHODS["td2-cfm"](small_field(getkey()), 2)
    exact = eqx.filter_jit(measure.log_prob)(STATE, STATE, ACTION)
    estimate = eqx.filter_jit(
        lambda key: measure.log_prob(STATE, STATE, ACTION, divergence=fz.HutchinsonDivergence(256), key=key)
    )
    with jax.debug_key_reuse(False):  # the same signs serve the whole way
        estimate = estimate(getkey())
    np.testing.assert_allclose(estimate, exact, atol=0.5)


def test_a_measure_satisfies_its_protocol(getkey):
    assert isinstance(METHODS["td2-cfm"](small_field(getkey()), 2), SuccessorMeasure)


@pytest.mark.parametrize("discount", [1.0, -0.1, np.nan])
def test_a_discount_outside_of_its_range_is_refused(discount, getkey):
    with pytest.raises(ValueError, match=r"`discount` must be in \[0, 1\)"):
        METHODS["td2-cfm"](small_field(getkey()), 2, discount=discount)


@pytest.mark.slow
def test_a_policy_with_other_actions_is_refused(getkey):
    measure = METHODS["td2-cfm"](small_field(getkey()), 2)
    batch = LinearGaussian.spiral(0.9).sample(getkey(), 4)
    with pytest.raises(ValueError, match=r"actions of shape \(2,\), as in the data; got \(3,\)"):
        measure.successor_loss(batch, measure, frozen_agent(None, FunctionPolicy(lambda s: jnp.zeros(3))), getkey())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_observations_that_are_not_finite_are_refused(bad):
    observations = np.ones((5, 2))
    observations[3, 1] = bad
    with pytest.raises(ValueError, match="`observations` has a NaN or an infinity, first in row 3"):
        Normaliser.from_observations(observations)


@pytest.mark.slow
def test_a_normaliser_is_fitted_and_never_learnt(getkey):
    observations = np.random.default_rng(0).normal([3.0, -1.0], [0.1, 7.0], (1000, 2))
    normaliser = Normaliser.from_observations(observations)
    z = jax.vmap(normaliser.normalise)(jnp.asarray(observations, dtype=float))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-4)
    assert_close(normaliser.restore(z[0]), jnp.asarray(observations[0], dtype=float), scale=10.0)
    chain = LinearGaussian.spiral(0.9)
    measure = METHODS["td2-cfm"](small_field(getkey()), 2, normaliser=normaliser)
    agent = fz.Agent(critic=fz.successor.SuccessorCritic(measure, lambda x: x[0]), policy=chain.policy)
    after, _ = eqx.filter_jit(lambda agent, batch, key: agent.update(batch, key))(
        agent, chain.sample(getkey(), 8), getkey()
    )
    np.testing.assert_array_equal(after.critic.measure.normaliser.mean.value, normaliser.mean.value)
    np.testing.assert_array_equal(after.critic.measure.normaliser.scale.value, normaliser.scale.value)


def test_a_constant_coordinate_needs_a_least_scale_above_0_or_none():
    observations = np.stack([np.arange(4.0), np.ones(4)], axis=1)
    with pytest.raises(ValueError, match="`observations` is constant in coordinate 1"):
        Normaliser.from_observations(observations, least_scale=0.0)
    np.testing.assert_allclose(Normaliser.from_observations(observations, least_scale=0.5).scale.value[1], 0.5)


@pytest.mark.parametrize(("argument", "value"), [("mean", np.inf), ("scale", 0.0), ("scale", np.nan)])
def test_a_normaliser_refuses_bad_numbers(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be"):
        Normaliser(**{argument: value})


def test_a_normaliser_of_another_size_is_refused(getkey):
    with pytest.raises(ValueError, match=r"`normaliser.mean` must be one number or 2.*got 3"):
        METHODS["td2-cfm"](small_field(getkey()), 2, normaliser=Normaliser(np.zeros(3), 1.0))


@pytest.mark.slow
def test_a_trained_policy_is_used_and_left_alone(getkey):
    """Even by an optimiser that shrinks every parameter."""
    policy = fz.BehaviourFlow.build(2, 2, key=getkey(), flow_steps=2)
    measure = METHODS["td2-cfm"](small_field(getkey()), 2)
    agent = fz.Agent(
        critic=fz.successor.SuccessorCritic(measure, lambda x: x[0]),
        policy=FixedPolicy(policy),
        update_rule=fz.JointUpdate(optax.adamw(1e-2, weight_decay=0.5)),
    )
    batch = LinearGaussian.spiral(0.9).sample(getkey(), 8)
    after, _ = eqx.filter_jit(lambda agent, batch, key: agent.update(batch, key))(agent, batch, getkey())
    for old, new in zip(jax.tree.leaves(agent.policy), jax.tree.leaves(after.policy), strict=True):
        np.testing.assert_array_equal(old, new)
    key = getkey()
    assert_close(after.act(STATE, key), policy.act(STATE, None, jax.random.clone(key)))
