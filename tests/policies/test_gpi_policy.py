"""Generalised policy improvement where every value is exact."""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import floqzoo as fz
from floqzoo.policies import FamilyGPIPolicy, GPIPolicy
from floqzoo.successor import GeometricGPIPolicy
from floqzoo.tasks import Ring


CELLS = 7


class ExactCritic(eqx.Module):
    """The exact value of a reward for each cell of a ring."""

    ring: Ring
    pay: jax.Array

    def value(self, observation, action, key):
        return self.ring.value(observation, action, self.pay)

    def score(self, observation, action):
        return self.ring.value(observation, action, self.pay)

    def critic_loss(self, batch, agent, key):
        return jnp.zeros(()), None


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31 - 1), drifts=st.tuples(*[st.floats(-1, 1)] * 3), discount=st.floats(0.1, 0.95))
def test_the_improved_policy_is_nowhere_worse_than_the_best_of_them(seed, drifts, discount):
    """Theorem 1 of GPI, exactly: values on a ring of cells, of any reward, by inverting a matrix."""
    pay = jax.random.normal(jax.random.key(seed), (CELLS,))
    improved, own = values(jnp.asarray(drifts), jnp.asarray(discount), pay)
    assert jnp.all(improved >= jnp.max(own, axis=0) - 1e-4 / (1 - discount))


@jax.jit
def values(drifts, discount, pay):
    """The value at every cell of the improved policy, and of each of the policies."""
    rings = [Ring(cells=CELLS, drift=drift, discount=discount) for drift in drifts]
    improved = GPIPolicy(tuple(ring.policy for ring in rings), tuple(ExactCritic(ring, pay) for ring in rings))
    actions = jax.vmap(lambda centre: improved.act(centre, None, jax.random.key(0)))(rings[0].centres)
    matrix = jax.vmap(rings[0].transition_matrix)(actions)[jnp.arange(CELLS), jnp.arange(CELLS)]
    value = jnp.linalg.solve(jnp.eye(CELLS) - discount * matrix, matrix @ pay)
    return value, jnp.stack([own_values(ring, pay) for ring in rings])


def own_values(ring, pay):
    return jax.vmap(lambda centre: ring.value(centre, ring.policy_action(centre), pay))(ring.centres)


class Drifts(eqx.Module):
    """The policies of a ring that drift by an amount which the first coordinate of z decides."""

    latent: fz.Hyperparameter

    def act_for(self, observation, latent):
        return ring_of(latent).policy_action(observation)

    def act(self, observation, critic, key):
        return self.act_for(observation, self.latent.value)

    def policy_loss(self, batch, agent, key):
        return jnp.zeros(()), None


def ring_of(latent):
    return Ring(cells=CELLS, drift=jnp.tanh(latent[0]), discount=0.9)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31 - 1), count=st.sampled_from((1, 5)), cosine=st.floats(0, 1))
def test_over_a_family_it_is_nowhere_worse_than_the_policy_of_the_task(seed, count, cosine):
    """With fixed draws, hence one improved policy; with z of the task alone it is that policy."""
    pay_key, task_key, act_key = jax.random.split(jax.random.key(seed), 3)
    pay, task = jax.random.normal(pay_key, (CELLS,)), jax.random.normal(task_key, (3,))
    improved, own, latents = family_values(count, jnp.asarray(cosine), task, pay, act_key)
    np.testing.assert_allclose(jnp.linalg.norm(latents, axis=1), jnp.linalg.norm(task), rtol=1e-4)
    np.testing.assert_allclose(latents[0], task, rtol=1e-6)
    assert jnp.all(improved >= jnp.max(own, axis=0) - 1e-3)
    assert count > 1 or jnp.allclose(improved, own[0], atol=1e-3)


@partial(jax.jit, static_argnums=0)
def family_values(count, cosine, task, pay, key):
    """As `values`, for the draws of one key."""
    family = fz.FixedPolicy(Drifts(fz.Hyperparameter(task)))
    improved = FamilyGPIPolicy(family, lambda s, a, z, key: ring_of(z).value(s, a, pay), task, count, cosine)
    centres = ring_of(task).centres
    actions = jax.vmap(lambda centre: improved.act(centre, None, jax.random.clone(key)))(centres)
    matrix = jax.vmap(ring_of(task).transition_matrix)(actions)[jnp.arange(CELLS), jnp.arange(CELLS)]
    value = jnp.linalg.solve(jnp.eye(CELLS) - 0.9 * matrix, matrix @ pay)
    latents = improved.candidates(centres[0], jax.random.clone(key))[0]
    return value, jax.vmap(lambda z: own_values(ring_of(z), pay))(latents), latents


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"count": 0}, "`count` must be at least 1; got 0"),
        ({"cosine": 1.5}, r"`cosine` must be in \[0, 1\]; got 1.5"),
        ({"latent": jnp.zeros(3)}, "`latent` must be finite and not 0"),
        ({"family": fz.FixedPolicy(fz.FunctionPolicy(jnp.sin))}, "a policy for each z, .*; got FunctionPolicy"),
    ],
)
def test_what_cannot_be_improved_over_is_refused(changes, problem):
    parts = {
        "family": fz.FixedPolicy(Drifts(fz.Hyperparameter(jnp.ones(3)))),
        "value_for": lambda s, a, z, key: 0.0,
        "latent": jnp.ones(3),
    }
    with pytest.raises(ValueError, match=problem):
        FamilyGPIPolicy(**(parts | changes))


class ExpectedFutures(eqx.Module):
    """The measures of the policies of `Drifts`, where an observation is a distribution over the cells of the ring.

    The drift is the same in all cells, so the expected distribution after any steps depends on this distribution alone,
    and futures that are expected distributions have exact means of any reward of the cells.
    """

    latent: fz.Hyperparameter
    discount: fz.Hyperparameter

    @property
    def family(self):
        return fz.FixedPolicy(Drifts(self.latent))

    def at(self, latent):
        return replace(self, latent=fz.Hyperparameter(latent))

    def sample_futures(self, observation, action, count, key):
        first = observation @ ring_of(self.latent.value).transition_matrix(action)
        later = jnp.eye(CELLS) - self.discount.value * matrix_of(self.latent.value)
        return jnp.broadcast_to((1 - self.discount.value) * jnp.linalg.solve(later.T, first), (count, CELLS))


def matrix_of(latent):
    return ring_of(latent).transition_matrix(jnp.tanh(latent[:1]))


def planner(latents, pay, first, discount=0.9):
    """Plans over z's, the first of which is that of the task, whose values are exact."""
    measures = [ExpectedFutures(*map(fz.Hyperparameter, (latents[0], jnp.asarray(each)))) for each in (first, discount)]
    return GeometricGPIPolicy(*measures, lambda shares: shares @ pay, latents[1:], num_samples=2)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31 - 1), share=st.sampled_from((0.0, 0.3, 0.9, 1.0)))
def test_a_plan_has_the_value_of_the_process_that_switches_and_the_best_plan_is_nowhere_worse(seed, share):
    """The process has a state for each cell and each of the two policies; its values solve one linear system."""
    pay_key, latent_key = jax.random.split(jax.random.key(seed))
    pay, latents = jax.random.normal(pay_key, (CELLS,)), jax.random.normal(latent_key, (4, 1))
    estimated, exact, improved = plan_values(latents, pay, jnp.asarray(0.9 * share))
    np.testing.assert_allclose(estimated, exact, atol=1e-3)
    assert jnp.all(improved >= jnp.max(exact, axis=1) - 1e-3)


@jax.jit
def plan_values(latents, pay, first):
    """The values of plans in each cell, by samples and by the process that switches; the values of acting with the best."""
    plans, stays = planner(latents, pay, first), first / 0.9
    _, actions, estimated = jax.vmap(lambda cell: plans.candidates(cell, jax.random.key(0)))(jnp.eye(CELLS))
    task, zero = matrix_of(latents[0]), jnp.zeros((CELLS, CELLS))

    def switching(latent):
        own = matrix_of(latent)
        matrix = jnp.block([[stays * own, (1 - stays) * own], [zero, task]])
        rewards = jnp.concatenate([own @ pay, task @ pay])
        return jnp.linalg.solve(jnp.eye(2 * CELLS) - 0.9 * matrix, rewards)[:CELLS]

    best = actions[jnp.arange(CELLS), jnp.argmax(estimated, axis=1)]
    matrix = jax.vmap(ring_of(latents[0]).transition_matrix)(best)[jnp.arange(CELLS), jnp.arange(CELLS)]
    improved = jnp.linalg.solve(jnp.eye(CELLS) - 0.9 * matrix, matrix @ pay)
    return estimated, jax.vmap(switching)(latents).T, improved


def test_the_first_action_of_the_best_plan_is_taken():
    plans, cell = planner(jnp.array([[0.5], [-1.0], [2.0]]), jnp.arange(float(CELLS)), 0.5), jnp.eye(CELLS)[2]
    latents, actions, values = plans.candidates(cell, jax.random.key(0))
    np.testing.assert_allclose(actions, jnp.tanh(latents), rtol=1e-6)
    np.testing.assert_allclose(plans.act(cell, None, jax.random.key(0)), actions[jnp.argmax(values)])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"num_samples": 0}, "`num_samples` must be at least 1; got 0"),
        ({"subgoals": jnp.zeros((3, 2))}, r"rows of size 1, that of z; got shape \(3, 2\)"),
        ({"subgoals": jnp.full((3, 1), jnp.nan)}, "`subgoals` must be finite"),
        ({"first": ExpectedFutures(fz.Hyperparameter(jnp.ones(1)), fz.Hyperparameter(jnp.asarray(0.95)))}, "at most"),
    ],
)
def test_what_cannot_be_planned_with_is_refused(changes, problem):
    with pytest.raises(ValueError, match=problem):
        replace(planner(jnp.ones((4, 1)), jnp.ones(CELLS), 0.5), **changes)
