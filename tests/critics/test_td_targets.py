r"""TD targets in closed form: the Bellman operator's laws, asked of every backup, with critics that are known maps.

The critics here are linear in $(s, a)$, plus `spread` times the noise where they are flows, so that a target is
arithmetic. All targets have the shape (batch, copies); a monolithic critic has one copy.
"""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doubles import ACTION, OBSERVATION, RandomPolicy, SteadyPolicy, frozen_agent, linear_fields, linear_q
from hypothesis import given, strategies as st
from linear_world import BATCH, COPIES, MEMBERS, next_values, world

import floqzoo as fz
from floqzoo.testing import assert_close


AGGREGATIONS = {"mean": fz.MeanOverEnsemble(), "min": fz.MinOverEnsemble()}
BACKUPS = {"monolithic": None, "expected": fz.ExpectedBackup(), "distributional": fz.DistributionalBackup()}

every_backup = pytest.mark.parametrize("backup", BACKUPS)
every_aggregation = pytest.mark.parametrize("aggregation", AGGREGATIONS)
numbers = st.integers(-64, 64).map(lambda n: n / 16)
discounts = st.integers(0, 15).map(lambda n: n / 16)


def uncompiled_targets(backup, aggregation, policy, world, key):
    """The targets of the very method that a loss has its targets from."""
    aggregation = AGGREGATIONS[aggregation]
    readout = linear_q(world.weight, world.bias)
    if backup == "monolithic":
        critic = fz.MonolithicCritic(readout, discount=world.discount, aggregation=aggregation)
        return critic.targets_of(world.batch, frozen_agent(critic, policy), key)[:, None]
    critic = fz.FlowCritic(
        linear_fields(world.weight, world.bias, world.spread),
        readout,
        fz.UniformPrior(-1.0, 0.0),
        discount=world.discount,
        solver=fz.Euler(2),
        num_noise_samples=COPIES,
        aggregation=aggregation,
        backup=BACKUPS[backup],
    )
    agent = frozen_agent(critic, policy)
    return critic.targets_and_outputs(world.batch, agent, 0 * world.noise, world.noise, key)[0]


@functools.cache
def compiled(backup, aggregation, policy):
    return jax.jit(lambda world, key: uncompiled_targets(backup, aggregation, policy, world, key))


def targets(backup, aggregation, world, policy=SteadyPolicy(), seed=0):
    return compiled(backup, aggregation, policy)(world, jax.random.key(seed))


@every_aggregation
@pytest.mark.parametrize("seed", range(3))
def test_targets_are_reward_plus_discounted_value_of_the_next_state(aggregation, seed):
    case = world(seed)
    reduce = {"mean": np.mean, "min": np.min}[aggregation]
    reward, continuation = np.asarray(case.batch.reward)[:, None], 0.9 * np.asarray(case.batch.discount)[:, None]
    ends = reduce(next_values(case), axis=0)
    assert_close(targets("distributional", aggregation, case), reward + continuation * ends)
    mean = np.broadcast_to(ends.mean(axis=1, keepdims=True), ends.shape)
    assert_close(targets("expected", aggregation, case), reward + continuation * mean)
    value = reduce(next_values(case.with_(spread=0)), axis=0)[:, :1]
    assert_close(targets("monolithic", aggregation, case), reward + continuation * value)


@every_backup
@every_aggregation
@given(reward=numbers, discount=discounts)
def test_a_constant_reward_is_worth_itself_over_one_minus_the_discount(backup, aggregation, reward, discount):
    value = reward / (1 - discount)
    case = world().with_(weight=0, bias=value, spread=0, discount=discount).with_batch(reward=reward, discount=1)
    assert_close(targets(backup, aggregation, case), np.full((BATCH, columns(backup)), value), scale=value)


@every_backup
@given(reward=numbers, discount=discounts)
def test_two_steps_from_the_goal_the_reward_is_discounted_once_and_nothing_comes_after(backup, reward, discount):
    """s0 -> s1 -> s2, where s1 is the goal: its mask is 0, so its own reward is all that it is worth."""
    path = jnp.eye(OBSERVATION)
    case = world().with_(spread=0, discount=discount)
    for sweep in range(2):
        chain = case.with_batch(
            next_observation=path[jnp.array([1, 2, 2, 2])],
            reward=jnp.array([0, reward, 0, 0]),
            discount=jnp.array([1.0, 0, 1, 1]),
        )
        if sweep == 0:  # a wild guess of the values: one sweep is right at s1, the second at s0
            chain = chain.with_(weight=7, bias=-3)
        found = targets(backup, "mean", chain)
        value_of_state = jnp.concatenate([found[:2, 0], jnp.zeros(1)])
        case = chain.with_(weight=jnp.concatenate([value_of_state, jnp.zeros(ACTION)]), bias=0)
    assert_close(found[:2], np.broadcast_to([[discount * reward], [reward]], (2, columns(backup))))


@every_backup
@every_aggregation
def test_a_masked_transition_is_worth_its_reward_whatever_follows(backup, aggregation):
    case = world().with_(bias=1e6).with_batch(discount=0)
    wanted = np.broadcast_to(case.batch.reward[:, None], (BATCH, columns(backup)))
    np.testing.assert_array_equal(targets(backup, aggregation, case), wanted)


@every_backup
@every_aggregation
@given(shift=numbers)
def test_values_raised_by_a_constant_raise_targets_by_its_discount(backup, aggregation, shift):
    case = world()
    raised = targets(backup, aggregation, case.with_(bias=case.bias + shift))
    gain = 0.9 * shift * case.batch.discount[:, None]
    assert_close(raised, np.asarray(targets(backup, aggregation, case) + gain), scale=abs(shift) + 5.0)


@every_backup
@every_aggregation
@given(scale=st.integers(1, 64).map(lambda n: n / 16), shift=numbers)
def test_rewards_scaled_and_shifted_scale_and_shift_values_alike(backup, aggregation, scale, shift):
    """If Q is scaled by c and raised by d / (1 - discount), so is its target under the rewards c r + d."""
    case = world().with_batch(discount=1)
    rise = shift / (1 - 0.9)
    changed = case.with_(
        weight=scale * case.weight, bias=scale * case.bias + rise, spread=scale * case.spread
    ).with_batch(reward=scale * case.batch.reward + shift)
    wanted = scale * targets(backup, aggregation, case) + rise
    assert_close(targets(backup, aggregation, changed), np.asarray(wanted), scale=10.0 * scale + abs(rise))


@every_backup
@every_aggregation
@given(seed=st.integers(0, 99))
def test_targets_grow_with_every_member_of_the_ensemble(backup, aggregation, seed):
    case, gain = world(seed), jnp.asarray(np.random.default_rng(seed).uniform(0, 1, MEMBERS), dtype=float)
    higher = targets(backup, aggregation, case.with_(bias=case.bias + gain))
    assert np.all(np.asarray(higher - targets(backup, aggregation, case)) >= -1e-6)


@every_backup
@given(seed=st.integers(0, 99))
def test_the_minimum_over_members_is_at_most_the_mean_and_equals_it_where_they_agree(backup, seed):
    case = world(seed)
    assert np.all(np.asarray(targets(backup, "min", case) - targets(backup, "mean", case)) <= 1e-6)
    alike = case.with_(weight=case.weight[0], bias=case.bias[0], spread=case.spread[0])
    assert_close(targets(backup, "min", alike), np.asarray(targets(backup, "mean", alike)), scale=5.0)


@every_backup
@every_aggregation
def test_members_may_change_places(backup, aggregation):
    case = world()
    swapped = case.with_(weight=case.weight[::-1], bias=case.bias[::-1], spread=case.spread[::-1])
    assert_close(targets(backup, aggregation, swapped), np.asarray(targets(backup, aggregation, case)), scale=5.0)


@every_backup
@every_aggregation
def test_transitions_may_change_places(backup, aggregation):
    case, order = world(), jnp.array([2, 0, 3, 1])
    batch, noise = jax.tree.map(lambda x: x[order], (case.batch, case.noise))
    shuffled = replace(case, batch=batch, noise=noise)
    wanted = np.asarray(targets(backup, aggregation, case))[np.asarray(order)]
    np.testing.assert_array_equal(targets(backup, aggregation, shuffled), wanted)


@every_aggregation
def test_copies_may_change_places(aggregation):
    case, order = world(), jnp.array([2, 0, 1])
    shuffled = replace(case, noise=case.noise[:, order])
    wanted = np.asarray(targets("distributional", aggregation, case))[:, np.asarray(order)]
    np.testing.assert_array_equal(targets("distributional", aggregation, shuffled), wanted)
    unchanged = np.asarray(targets("expected", aggregation, case))
    assert_close(targets("expected", aggregation, shuffled), unchanged, scale=5.0)


@every_aggregation
@given(seed=st.integers(0, 99))
def test_the_expected_target_is_the_mean_of_the_distributional_ones(aggregation, seed):
    case = world(seed)
    expected = targets("expected", aggregation, case, RandomPolicy(), seed)
    samples = np.asarray(targets("distributional", aggregation, case, RandomPolicy(), seed))
    assert_close(expected, np.broadcast_to(samples.mean(axis=1, keepdims=True), samples.shape), scale=5.0)


def test_each_copy_draws_a_next_action_of_its_own():
    case = world().with_(spread=0).with_batch(discount=1)
    steady = np.asarray(targets("distributional", "mean", case))
    random = np.asarray(targets("distributional", "mean", case, RandomPolicy()))
    assert np.ptp(steady, axis=1).max() < 1e-5
    assert np.ptp(random, axis=1).min() > 1e-3


@every_backup
def test_compilation_changes_nothing(backup):
    eager = uncompiled_targets(backup, "mean", RandomPolicy(), world(), jax.random.key(0))
    assert_close(targets(backup, "mean", world(), RandomPolicy()), np.asarray(eager), scale=5.0)


@every_backup
def test_no_number_is_compiled_in(backup):
    """Other values, discounts, rewards and noise samples run the same program."""
    program = compiled(backup, "mean", SteadyPolicy())
    for seed in range(3):
        program(world(seed).with_(discount=seed / 4), jax.random.key(seed))
    assert program._cache_size() == 1


def columns(backup):
    return 1 if backup == "monolithic" else COPIES
