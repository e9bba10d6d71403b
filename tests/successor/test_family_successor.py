"""One measure for a family of policies: each row of a batch has its own z, and so have its next action and its target."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import floqzoo as fz
from floqzoo.hyperparameter import Hyperparameter
from floqzoo.successor import METHODS, FamilySuccessor, FamilyValue, FlowSuccessor, SuccessorCritic, on_sphere
from floqzoo.tasks import LinearGaussian
from floqzoo.testing.policy_laws import frozen_agent
from tests.successor.known_measures import small_field, trained_on


CHAIN = LinearGaussian.spiral(0.7, tolerance=1e-5)
STATE, ACTION = jnp.array([1.0, 0.5]), jnp.array([0.3, -0.2])


def action_at(state):
    """The action of the chain's policy."""
    return CHAIN.gain.value @ state


class Shifted(eqx.Module):
    """The policy of the chain, shifted by z: one policy for each z."""

    latent: Hyperparameter

    def act_for(self, observation, latent):
        return action_at(observation) + latent

    def act(self, observation, critic, key):
        return self.act_for(observation, self.latent.value)

    def policy_loss(self, batch, agent, key):
        return jnp.zeros(()), None


class Draws(eqx.Module):
    """Draws a z for each row; the values of an FB critic are not needed."""

    scale: jax.Array

    def score_for(self, observation, action, latent):
        return jnp.zeros(())

    def sample_latents(self, observations, key):
        return self.scale * jax.vmap(on_sphere)(jax.random.normal(key, (len(observations), 2)))


def family():
    return fz.FixedPolicy(Shifted(Hyperparameter(jnp.ones(2))), Draws(jnp.ones(())))


def measure_of_family(field, rule=None, latent=(1.0, 1.0)):
    flow = fz.Flow(field, 2, solver=fz.Midpoint(6))
    return FamilySuccessor(FlowSuccessor(flow, rule or fz.TD2Target(), discount=0.7), family(), jnp.array(latent))


@pytest.mark.parametrize(
    "rule", [fz.TD2Target(), fz.TDTarget(), fz.CoupledTDTarget()], ids=lambda rule: type(rule).__name__
)
def test_the_loss_of_each_row_is_that_of_the_measure_of_its_policy(rule, getkey):
    """On the same draws, row by row: the flow conditioned on z, and the next action of the policy for z."""
    both, other = (measure_of_family(small_field(getkey(), condition=6), rule) for _ in range(2))
    batch, key = CHAIN.sample(getkey(), 5), getkey()
    agent = frozen_agent(None, CHAIN.policy)
    loss, metrics = both.successor_loss(batch, other, agent, jax.random.clone(key))
    latent_key, loss_key = jax.random.split(key)
    z = Draws(jnp.ones(())).sample_latents(batch.next_observation, latent_key)
    assert len({float(each) for each in z[:, 0]}) == 5
    _, time_key, noise_key = jax.random.split(loss_key, 3)
    times, keys = both.measure.times.sample_times(time_key, (5,)), jax.random.split(noise_key, 5)
    rows = []
    for row in range(5):
        one = jax.tree.map(lambda leaf, row=row: leaf[row], batch)
        action = action_at(one.next_observation) + z[row]
        first, rest = both.measure.transition_losses(other.measure, one, action, times[row], keys[row], z[row])
        rows.append((first, rest))
    first, rest = np.mean(np.asarray(rows, np.float64), axis=0)
    np.testing.assert_allclose([metrics.one_step_loss, metrics.bootstrap_loss], [first, rest], rtol=1e-5)
    np.testing.assert_allclose(loss, 0.3 * first + 0.7 * rest, rtol=1e-5)


def test_futures_densities_and_values_are_those_of_the_present_policy(getkey):
    both, key = measure_of_family(small_field(getkey(), condition=6)), getkey()
    z = jnp.array([0.3, -1.2])
    clone = jax.random.clone
    futures = both.at(z).sample_futures(STATE, ACTION, 8, clone(key))
    np.testing.assert_allclose(futures, both.measure.sample_futures(STATE, ACTION, 8, clone(key), z), rtol=1e-6)
    assert not np.allclose(futures, both.sample_futures(STATE, ACTION, 8, clone(key)), rtol=1e-3)
    density = both.at(z).log_prob(futures[0], STATE, ACTION)
    np.testing.assert_allclose(density, both.measure.log_prob(futures[0], STATE, ACTION, z), rtol=1e-6)
    value = FamilyValue(SuccessorCritic(both, lambda x: x[0], num_samples=8))
    np.testing.assert_allclose(value(STATE, ACTION, z, clone(key)), futures[:, 0].mean() / 0.3, rtol=1e-5)


def test_a_family_over_a_range_of_discounts_has_both_conditions(getkey):
    """The loss of each row is that of the z and the discount of this row, which are the last two conditions of the flow."""
    both, other = (measure_of_range(small_field(getkey(), condition=7)) for _ in range(2))
    batch, key = CHAIN.sample(getkey(), 5), getkey()
    loss, _ = both.successor_loss(batch, other, frozen_agent(None, CHAIN.policy), jax.random.clone(key))
    latent_key, range_key = jax.random.split(key)
    z = Draws(jnp.ones(())).sample_latents(batch.next_observation, latent_key)
    discount_key, loss_key = jax.random.split(range_key)
    shares = jax.random.uniform(discount_key, (5,))
    _, time_key, noise_key = jax.random.split(loss_key, 3)
    flow, target = both.measure.measure, other.measure.measure
    times, keys = flow.times.sample_times(time_key, (5,)), jax.random.split(noise_key, 5)
    rows = []
    for row in range(5):
        one = jax.tree.map(lambda leaf, row=row: leaf[row], batch)
        action, condition = action_at(one.next_observation) + z[row], 2 * shares[row : row + 1] - 1
        first, rest = flow.transition_losses(target, one, action, times[row], keys[row], z[row], condition)
        discount = 1 - 0.5 ** (1 - shares[row]) * 0.1 ** shares[row]
        rows.append((1 - discount) * first + discount * rest)
    np.testing.assert_allclose(loss, np.mean(np.asarray(rows, np.float64)), rtol=1e-5)
    last = replace(both, measure=both.measure.at(0.9)).at(z[0])
    futures = last.sample_futures(STATE, ACTION, 4, jax.random.clone(key))
    expected = flow.sample_futures(STATE, ACTION, 4, jax.random.clone(key), z[0], jnp.ones(1))
    np.testing.assert_allclose(futures, expected, rtol=1e-6)
    density = flow.log_prob(futures[0], STATE, ACTION, z[0], jnp.ones(1))
    np.testing.assert_allclose(last.log_prob(futures[0], STATE, ACTION), density, rtol=1e-6)


def measure_of_range(field):
    measure = FlowSuccessor(fz.Flow(field, 2, solver=fz.Midpoint(6)), fz.TD2Target(), discount=0.7)
    return FamilySuccessor(fz.DiscountRangeSuccessor(measure, 0.5, 0.9), family(), jnp.ones(2))


def test_no_gradient_reaches_the_family(getkey):
    both, batch, key = measure_of_family(small_field(getkey(), condition=6)), CHAIN.sample(getkey(), 3), getkey()
    agent = frozen_agent(None, CHAIN.policy)
    gradient = eqx.filter_grad(lambda own: own.successor_loss(batch, both, agent, key)[0])(both)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient.family))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(gradient.measure))


@pytest.mark.slow
def test_one_network_learns_the_measure_of_every_policy(getkey):
    """For three policies of a chain, its means are nearer to their own exact means than to those of the others."""
    field = fz.ConditionalField(2, 6, build=lambda *sizes, key: fz.MLP(*sizes, hidden=(64, 64), key=key), key=getkey())
    measure = METHODS["td2-cfm"](field, 2, discount=0.7)
    critic = SuccessorCritic(FamilySuccessor(measure, family(), jnp.ones(2)), lambda x: x[0])
    trained = trained_on(CHAIN, critic, family(), getkey(), updates=3000)[1].measure
    latents = jnp.sqrt(2) * jnp.array([[1.0, 0.0], [0.0, 1.0], [-0.6, -0.8]])
    exact = np.stack([mean_under(z) for z in latents])
    for index, z in enumerate(latents):
        futures = eqx.filter_jit(trained.at(z).sample_futures)(STATE, action_at(STATE) + z, 2000, getkey())
        distances = np.linalg.norm(np.asarray(futures).mean(axis=0) - exact, axis=1)
        assert distances.argmin() == index and distances[index] < 0.2 < np.sort(distances)[1]


def mean_under(z, steps=60):
    """The mean of the measure of the policy for z at `STATE`, by following the mean of the chain."""
    state, total = STATE, jnp.zeros(2)
    for step in range(steps):
        state = CHAIN.dynamics.value @ state + CHAIN.control.value @ (action_at(state) + z)
        total += 0.3 * 0.7**step * state
    return total


def test_what_is_no_family_is_refused(getkey):
    field = small_field(getkey(), condition=6)
    measure = FlowSuccessor(fz.Flow(field, 2), fz.TD2Target(), discount=0.7)
    with pytest.raises(
        ValueError, match="a critic that draws z's, such as those of FB; got FunctionPolicy and NoneType"
    ):
        FamilySuccessor(measure, fz.FixedPolicy(CHAIN.policy), jnp.ones(2))
    with pytest.raises(ValueError, match="must not be a MonteCarloTarget"):
        FamilySuccessor(FlowSuccessor(fz.Flow(field, 2), fz.MonteCarloTarget(), discount=0.7), family(), jnp.ones(2))
    with pytest.raises(ValueError, match=r"`critic.measure` must be a FamilySuccessor; got FlowSuccessor"):
        FamilyValue(SuccessorCritic(measure, lambda x: x[0]))
