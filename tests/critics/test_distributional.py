"""Laws of distributional critics: the projection onto atoms, quantile losses, and the conservative term."""

from dataclasses import replace
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doubles import LinearNetwork, frozen_agent, transitions
from hypothesis import given, strategies as st
from scipy.special import huber
from scipy.stats import expectile

import floqzoo as fz
from floqzoo.testing import assert_close
from floqzoo.testing.families import (
    categorical_critic,
    conservative_critic,
    policy,
    quantile_critic,
    return_flow_critic,
)
from floqzoo.testing.policy_laws import UniformPolicy


NUMBERS = st.integers(-80, 80).map(lambda numerator: numerator / 16)
MASSES = st.lists(st.tuples(NUMBERS, st.integers(0, 8)), min_size=5, max_size=5).filter(
    lambda masses: sum(weight for _, weight in masses) > 0
)


# The projection


def projected(support, masses):
    points, weights = (jnp.asarray(column, float) for column in zip(*masses, strict=True))
    return np.asarray(points), np.asarray(weights), project(support, points, weights)


@eqx.filter_jit
def project(support, points, weights):
    return support.project(points, weights)


@given(masses=MASSES, num_atoms=st.sampled_from([2, 5]))
def test_the_projection_keeps_mass_and_mean_within_the_support(masses, num_atoms):
    support = fz.UniformSupport(-5.0, 5.0, num_atoms)
    points, weights, found = projected(support, masses)
    assert np.all(found >= 0)
    assert_close(jnp.sum(found), weights.sum(), scale=weights.sum())
    assert_close(found @ support.atoms, points @ weights, scale=5 * weights.sum())


@given(masses=MASSES)
def test_the_projection_divides_each_mass_between_the_two_atoms_beside_it(masses):
    """So the interpolation of any values at the atoms has the same expectation as before."""
    support = fz.UniformSupport(-5.0, 5.0, 6)
    points, weights, found = projected(support, masses)
    values = np.random.default_rng(0).normal(size=6)
    assert_close(found @ values, np.interp(points, support.atoms, values) @ weights, scale=10 * weights.sum())


@given(masses=MASSES)
def test_a_distribution_on_the_atoms_is_its_own_projection_and_what_lies_outside_goes_to_the_ends(masses):
    support = fz.UniformSupport(-2.0, 1.0, 4)
    points, weights, found = projected(support, masses)
    again = project(support, support.atoms, found)
    assert_close(again, found, scale=weights.sum())
    assert found[0] >= weights[points <= -2].sum() * (1 - 1e-6)
    assert found[-1] >= weights[points >= 1].sum() * (1 - 1e-6)


def test_the_support_is_the_range_of_discounted_returns():
    support = fz.UniformSupport.from_rewards((-2.0, 0.5), 0.75, 11)
    assert_close(support.atoms, np.linspace(-8, 2, 11), scale=8.0)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: fz.UniformSupport(1.0, 1.0), "`low` must be below `high`"),
        (lambda: fz.UniformSupport(0.0, 1e-38), "`low` must be between 1e-20 and 1e20 below `high`"),
        (lambda: fz.UniformSupport(0.0, 1.0, 1), "`num_atoms` must be at least 2; got 1"),
        (
            lambda: fz.UniformSupport.from_rewards((-2.0, -2.0), 0.9),
            r"maximum; got \(-2.*no episode reaches the goal, use more",
        ),
        (lambda: fz.UniformSupport.from_rewards((0.0, 1.0), 1.0), r"`discount` must lie in \[0, 1\); got 1.0"),
        (lambda: fz.HuberQuantileLoss(0.0), "`kappa` must be above 0 and finite; got 0"),
        (lambda: fz.LevelConcatenation(0), "`condition_features` must be at least 1; got 0"),
        (lambda: replace(small(), num_levels=0), "`num_levels` must be at least 1; got 0"),
        (lambda: replace(small(), num_target_levels=0), "`num_target_levels` must be at least 1; got 0"),
        (lambda: replace(small(), discount=1.0), r"`discount` must be in \[0, 1\); got 1"),
        (lambda: fz.ConservativeCritic(small(), weight=-1.0), "`weight` must be at least 0 and finite; got -1"),
        (lambda: fz.ConservativeCritic(small(), num_actions=0), "`num_actions` must be at least 1; got 0"),
    ],
)
def test_what_is_out_of_range_is_refused(make, problem):
    with pytest.raises(ValueError, match=problem):
        make()


# Quantile losses

SAMPLES = st.lists(NUMBERS, min_size=6, max_size=6).map(lambda sample: np.array(sample, np.float32))
LEVELS = st.integers(1, 31).map(lambda numerator: numerator / 32)


def mean_losses(loss, sample, level, predictions):
    """The mean loss over a sample of targets, for each prediction."""
    errors = jnp.asarray(sample)[None, :] - jnp.asarray(predictions)[:, None]
    return np.asarray(jnp.mean(losses_of(loss, errors, jnp.full_like(errors, level)), axis=1))


@eqx.filter_jit
def losses_of(loss, errors, levels):
    return loss.losses(errors, levels)


@given(sample=SAMPLES, level=LEVELS)
def test_the_quantile_loss_is_least_at_a_quantile(sample, level):
    """Up to kappa / 2, by which the loss differs from that of kappa = 0."""
    kappa = 1e-3
    quantile = np.quantile(sample, level, method="inverted_cdf")
    others = np.concatenate([sample, sample - 0.3, sample + 0.7])
    at_quantile, *at_others = mean_losses(fz.HuberQuantileLoss(kappa), sample, level, [quantile, *others])
    assert at_quantile <= min(at_others) + kappa


@given(sample=SAMPLES, level=LEVELS)
def test_the_expectile_loss_is_least_at_the_expectile(sample, level):
    least = np.float32(expectile(sample.astype(float), level))
    at_least, *at_others = mean_losses(fz.ExpectileLoss(), sample, level, [least, least - 0.05, least + 0.05])
    assert at_least < min(at_others)


@given(errors=SAMPLES, level=LEVELS, kappa=st.sampled_from([0.25, 1.0, 3.0]))
def test_the_quantile_loss_is_a_weighted_huber_loss(errors, level, kappa):
    weight = np.where(errors < 0, 1 - level, level)
    found = losses_of(fz.HuberQuantileLoss(kappa), jnp.asarray(errors), jnp.full(len(errors), level))
    assert_close(found, weight * huber(kappa, errors) / kappa, scale=100.0)


@given(errors=SAMPLES, level=LEVELS, kappa=st.sampled_from([0.25, 1.0]))
def test_the_quantile_loss_has_the_unit_of_reward(errors, level, kappa):
    """Rewards and kappa times 4 make losses times 4."""
    levels = jnp.full(len(errors), level)
    one = losses_of(fz.HuberQuantileLoss(kappa), jnp.asarray(errors), levels)
    four = losses_of(fz.HuberQuantileLoss(4 * kappa), jnp.asarray(4 * errors), levels)
    assert_close(four, 4 * one, scale=100.0)


# Critics whose quantiles are known


@cache
def small():
    return quantile_critic(key=jax.random.key(0))


def constant_critic(value, **parts):
    """The quantile critic whose quantiles are all one number, by both members."""
    networks = fz.QuantileEnsemble(fz.LevelConcatenation(5), build=LinearNetwork, key=jax.random.key(0))
    members = jax.tree.map(jnp.zeros_like, networks.networks.members)
    members = eqx.tree_at(lambda members: members.stem.bias, members, jnp.full((2, 1), value))
    networks = eqx.tree_at(lambda networks: networks.networks, networks, fz.Ensemble(members, 2))
    return fz.QuantileCritic(networks, **parts)


@pytest.mark.parametrize("value", [-3.0, 0.0, 2.0])
def test_the_score_of_a_known_return_is_that_return(value):
    critic = constant_critic(value)
    assert_close(critic.score(jnp.ones(3), jnp.ones(2)), value)


@eqx.filter_jit
def conservative_loss(agent, batch):
    return agent.critic.conservative_loss(batch, agent, jax.random.key(0))


@eqx.filter_jit
def critic_loss(agent, batch, key):
    return agent.critic.critic_loss(batch, agent, key)


@pytest.mark.parametrize("num_actions", [1, 5])
def test_the_conservative_term_of_constant_returns_is_the_log_volume_of_the_proposals(num_actions):
    r"""With a uniform policy, $\log (2 n) + d \log 2$, whatever the value: each proposal is weighed by its density."""
    for value in (-3.0, 2.0):
        critic = fz.ConservativeCritic(constant_critic(value), num_actions=num_actions)
        agent = frozen_agent(critic, UniformPolicy(2))
        found = conservative_loss(agent, transitions())
        assert_close(found, np.log(2 * num_actions) + 2 * np.log(2), scale=10.0)


def test_without_weight_the_conservative_critic_is_the_critic_inside():
    inside = quantile_critic(key=jax.random.key(1))
    batch, agent = transitions(), frozen_agent(fz.ConservativeCritic(inside, weight=0.0), UniformPolicy(2))
    loss, metrics = critic_loss(agent, batch, jax.random.key(0))
    td_key, _ = jax.random.split(jax.random.key(0))
    wanted, _ = critic_loss(frozen_agent(inside, UniformPolicy(2)), batch, td_key)
    assert_close(loss, wanted)
    assert_close(metrics.td.critic_loss, wanted)
    assert metrics.conservative_loss > 1


@pytest.mark.parametrize(
    "make",
    [quantile_critic, categorical_critic, conservative_critic, return_flow_critic],
    ids=lambda make: make.__name__,
)
@pytest.mark.parametrize("kind", [fz.BehaviourFlow, fz.DistilledFlowPolicy, fz.BestOfNPolicy])
def test_a_distributional_critic_goes_with_every_flow_policy(make, kind):
    actor = (
        fz.BestOfNPolicy(policy(key=jax.random.key(1)), 3)
        if kind is fz.BestOfNPolicy
        else policy(kind, key=jax.random.key(1))
    )
    agent = fz.Agent(critic=make(key=jax.random.key(0)), policy=actor)
    batch = transitions()
    after, _ = eqx.filter_eval_shape(
        lambda agent, batch, key: agent.update(batch, key), agent, batch, jax.random.key(2)
    )
    assert jax.tree.structure(after) == jax.tree.structure(agent)
