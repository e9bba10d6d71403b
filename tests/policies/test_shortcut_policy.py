"""A shortcut policy: its numbers of steps, its self-consistency, its gradient through all steps, and policies around it."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doubles import ACTION, OBSERVATION, LinearNetwork, frozen_agent, transitions

import floqzoo as fz
from floqzoo.records import ActorCritic, FrozenAgent, StepCount
from floqzoo.testing import assert_close
from floqzoo.testing.families import (
    categorical_critic,
    critic,
    flow_critic,
    narrow,
    quantile_critic,
    shortcut_policy,
)
from floqzoo.testing.policy_laws import SumCritic


class Growth(eqx.Module):
    """v(t, x | s, k) = rate * x + slope * log2 k: it grows with x, and shows the number of steps."""

    rate: jax.Array
    slope: jax.Array

    def encode(self, *condition):
        return condition[-1][0]

    def velocity(self, t, x, code):
        return self.rate * x + self.slope * code


def growing(rate=0.0, slope=0.0, **numbers):
    return fz.ShortcutPolicy(Growth(jnp.asarray(rate), jnp.asarray(slope)), ACTION, **numbers)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_an_action_takes_the_steps_that_were_asked_for(count):
    """x (1 + rate / k)^k, where the field sees log2 k; the last step alone is clipped."""
    noise, observation = jnp.array([0.1, -0.2]), jnp.zeros(OBSERVATION)
    policy = growing(rate=1.0, num_steps=count)
    assert_close(policy.act_from_noise(observation, None, noise), noise * (1 + 1 / count) ** count)
    found = growing(slope=0.125).act_from(observation, noise, StepCount.known(count))
    assert_close(found, noise + 0.125 * np.log2(count))
    # A path that leaves the box and comes back to it is not clipped on its way.
    away = growing(rate=-1.5, num_steps=count)
    assert_close(
        away.act_from_noise(observation, None, 4 * noise), jnp.clip(4 * noise * (1 - 1.5 / count) ** count, -1, 1)
    )


def test_more_steps_than_the_shortest_are_refused():
    with pytest.raises(ValueError, match="`steps` must be at most `max_steps`, 8; got up to 16"):
        growing().act_from(jnp.zeros(OBSERVATION), jnp.zeros(ACTION), StepCount.known(16))
    for numbers, error in (
        ({"num_steps": 3}, "`num_steps` must be a power of two, at least 1; got 3"),
        ({"num_steps": 16}, "`num_steps` must be at most `max_steps`, 8; got 16"),
        ({"max_value_steps": 16}, "`max_value_steps` must be at most `max_steps`, 8; got 16"),
        ({"max_steps": 1}, "`max_steps` must be a power of two, at least 2; got 1"),
        ({"q_weight": -1.0}, "`q_weight` must be at least 0 and finite; got -1.0"),
    ):
        with pytest.raises(ValueError, match=error):
            growing(**numbers)


# Self-consistency


def test_the_shares_of_step_lengths_are_those_of_the_authors_code():
    """A trap: 85 of 256 each, and the one that is left has the longest step."""
    values, counts = np.unique(growing().consistency_counts(256), return_counts=True)
    np.testing.assert_array_equal(values, [1, 2, 4])
    np.testing.assert_array_equal(counts, [86, 85, 85])
    for size in (1, 2, 7):
        found = growing(max_steps=8).consistency_counts(size)
        assert len(found) == size and np.all(found[-(size - size // 3 * 2) :] == 1)


def test_the_target_of_self_consistency_is_not_clipped():
    """A trap: at points, and with velocities, far outside of the box of actions."""
    policy, x = growing(rate=2.0, slope=3.0), jnp.array([5.0, -7.0])
    for k in (1.0, 2.0, 4.0):
        first = 2 * x + 3 * np.log2(2 * k)
        second = 2 * (x + first / (2 * k)) + 3 * np.log2(2 * k)
        found = policy.velocity_of_two(0.25, x, jnp.zeros(OBSERVATION), jnp.asarray(k))
        assert_close(found, (first + second) / 2)


def test_self_consistency_compares_with_the_target_policy():
    """A field that does not depend on x or k is consistent with itself, and d velocities apart from a target with others."""

    class Constant(Growth):
        def velocity(self, t, x, code):
            return jnp.full_like(x, self.slope) + 0 * code

    def constant(value):
        return fz.ShortcutPolicy(Constant(jnp.zeros(()), jnp.asarray(value)), ACTION)

    @eqx.filter_jit
    def loss(policy, target, valid=None):
        batch = replace(transitions(0, 8), valid=valid)
        return policy.consistency_loss(batch, frozen_agent(SumCritic(), target), jax.random.key(4))

    assert loss(constant(0.5), constant(0.5)) == 0
    assert_close(loss(constant(0.5), constant(2.0)), 1.5**2)
    assert_close(loss(constant(0.5), constant(2.0), jnp.tile(jnp.array([1.0, 0.0]), (8, 1))), 1.5**2 / 2)


def test_a_missing_target_policy_is_an_error_that_names_it():
    agent = fz.Agent(critic=critic(key=jax.random.key(0)), policy=shortcut_policy(key=jax.random.key(1)))
    with pytest.raises(AttributeError, match=r"no target policy.*PolyakAveraging\(policy=0.005\)"):
        eqx.filter_eval_shape(agent.update, transitions(), jax.random.key(2))


# The Q loss


def test_the_q_loss_is_normalised_and_differentiated_through_all_steps():
    """Q is the sum of an action x_0 + k slope log2(k) / k: its derivative by the slope is d log2 k, whatever x_0."""
    batch, agent = transitions(1, 16), frozen_agent(SumCritic())
    seen = set()

    @eqx.filter_jit
    def value_and_slope(slope, key):
        def minus_q(slope):
            loss, q = growing(slope=slope).q_loss(batch, agent, key)
            return loss, q

        (loss, q), gradient = jax.value_and_grad(minus_q, has_aux=True)(slope)
        return loss, q, gradient

    for number in range(12):
        # A prior of one point inside of the box, so that nothing is clipped.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fz.GaussianPrior, "sample", lambda self, key, shape: jnp.full(shape, 0.25))
            loss, q, gradient = value_and_slope(jnp.asarray(0.125), jax.random.key(number))
        exponent = (q / ACTION - 0.25) / 0.125
        assert_close(loss, -1.0)
        assert_close(gradient, -ACTION * exponent / q, scale=10.0)
        seen.add(int(np.round(exponent)))
    assert seen == {0, 1, 2, 3}


class StepsCritic(SumCritic):
    """Q is the number of steps times the sum of the action."""

    def score_in_steps(self, observation, action, steps):
        return jnp.asarray(steps.value, action.dtype) * self.score(observation, action)


def test_the_critic_scores_for_the_steps_of_the_actions():
    policy, seen = growing(slope=0.125, max_steps=2, num_steps=2, max_value_steps=2), set()

    @eqx.filter_jit
    def steps(key):
        batch = transitions(1, 4)
        plain, stepped = (
            policy.q_loss(batch, frozen_agent(kind()), jax.random.clone(key))[1] for kind in (SumCritic, StepsCritic)
        )
        return stepped / plain

    for number in range(8):
        seen.add(round(float(steps(jax.random.key(number))), 4))
    assert seen == {1.0, 2.0}


# Inside of other policies


@pytest.mark.parametrize(
    "around",
    [lambda policy: fz.BestOfNPolicy(policy, 3), lambda policy: fz.ChunkedPolicy(policy, ACTION)],
    ids=["best-of-n", "chunked"],
)
def test_a_policy_around_it_changes_nothing_in_its_loss(around):
    """It finds its own target in the target policy of the agent."""
    inner, target = (shortcut_policy(key=jax.random.key(number)) for number in (0, 1))
    batch, step = transitions(2, 6), jnp.zeros((), jnp.int32)

    @eqx.filter_jit
    def loss(policy, target):
        agent = FrozenAgent(SumCritic(), policy, ActorCritic(SumCritic(), target), step)
        return policy.policy_loss(batch, agent, jax.random.key(5))[0]

    assert_close(loss(around(inner), around(target)), loss(inner, target))
    assert loss(inner, target) != loss(inner, inner)


# The critic of a policy with a number of steps


class Reporter(SumCritic):
    """A critic that reports what it is trained on."""

    def critic_loss(self, batch, agent, key):
        actions = jax.vmap(agent.act)(batch.next_observation, jax.random.split(key, len(batch.reward)))
        return jnp.zeros(()), (batch.observation, batch.next_observation, actions)


@pytest.mark.parametrize("wrapped", [False, True])
def test_one_number_of_steps_is_shared_by_both_sides_of_the_td_error_and_by_the_batch(wrapped):
    """And the next actions take this number of steps; those of best-of-N are those of its shortcut policy."""
    conditioned = fz.StepConditionedCritic(Reporter(), 2, 4)
    policy = growing(slope=0.125, max_steps=4, max_value_steps=4, num_steps=4)
    policy = replace(policy, prior=fz.UniformPrior(0.0, 1e-6))
    policy = fz.BestOfNPolicy(policy, 2) if wrapped else policy
    batch, seen = transitions(3, 6), set()

    @eqx.filter_jit
    def trained_on(key):
        agent = frozen_agent(conditioned, policy)
        return conditioned.critic_loss(batch, agent, key)[1]

    for number in range(10):
        now, later, actions = trained_on(jax.random.key(number))
        (steps,) = np.unique(now[:, -1])
        np.testing.assert_array_equal(later[:, -1], steps)
        np.testing.assert_array_equal(now[:, :-1], batch.observation)
        np.testing.assert_array_equal(later[:, :-1], batch.next_observation)
        np.testing.assert_allclose(actions, 0.125 * np.log2(steps), atol=2e-6)
        seen.add(int(steps))
    assert seen == {1, 2, 4}


def test_a_policy_without_steps_acts_on_the_observation_alone():
    conditioned, batch = fz.StepConditionedCritic(Reporter(), 2, 4), transitions(3, 6)
    agent = frozen_agent(conditioned, fz.FunctionPolicy(lambda observation: observation[::-1][:ACTION]))
    _, (_, _, actions) = conditioned.critic_loss(batch, agent, jax.random.key(0))
    np.testing.assert_array_equal(actions, batch.next_observation[:, ::-1][:, :ACTION])


@pytest.mark.parametrize("make", [flow_critic, quantile_critic, categorical_critic])
def test_any_critic_can_be_one_of_the_number_of_steps(make):
    """Built for observations of one coordinate more."""
    numbers = {"max_steps": 2, "num_steps": 2, "max_value_steps": 2, "network": narrow}
    agent = fz.Agent(
        critic=fz.StepConditionedCritic(make(key=jax.random.key(0)), 2, 2),
        policy=fz.ShortcutPolicy.build(OBSERVATION - 1, ACTION, key=jax.random.key(1), **numbers),
        update_rule=fz.SequentialUpdate(),
        target_update=fz.PolyakAveraging(critic=0.005, policy=0.005),
    )
    batch = transitions(0, 4, OBSERVATION - 1)
    _, metrics = eqx.filter_eval_shape(agent.update, batch, jax.random.key(2))
    assert metrics.critic.critic_loss.shape == metrics.actor.q_loss.shape == ()


def test_the_score_is_for_the_steps_in_acting():
    networks = fz.QEnsemble(OBSERVATION + 1, ACTION, size=1, build=LinearNetwork, key=jax.random.key(0))
    weight = jnp.zeros((1, OBSERVATION + 1 + ACTION, 1)).at[0, OBSERVATION, 0].set(1.0)
    networks = eqx.tree_at(lambda n: n.networks.members.stem.weight, networks, weight)
    conditioned = fz.StepConditionedCritic(fz.MonolithicCritic(networks), num_steps=2, max_steps=4)
    where = jnp.ones(OBSERVATION), jnp.zeros(ACTION)
    assert conditioned.score(*where) == 2
    assert conditioned.score_in_steps(*where, StepCount(jnp.asarray(4), 4)) == 4
    with pytest.raises(ValueError, match="`num_steps` must be at most `max_steps`, 4; got 8"):
        fz.StepConditionedCritic(conditioned.critic, num_steps=8, max_steps=4)
    with pytest.raises(TypeError, match="`critic` must be a Critic"):
        fz.StepConditionedCritic(networks)
