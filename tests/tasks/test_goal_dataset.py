"""Goals in hindsight: which states become goals, and what a transition towards a goal pays."""

import math
from dataclasses import replace
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from floqzoo.learner import ActionChunks, GeometricFuture, NStep, UniformBatches
from floqzoo.protocols import OfflineDataset
from floqzoo.runs import RunConfig
from floqzoo.tasks import GoalDataset, GymnasiumTask, make_dataset
from floqzoo.training.phases import require_online
from recipes.gaussian_bc import GaussianBCConfig


def states_of(lengths, masks=None):
    """Episodes of the given numbers of states; an observation is the number i of the state, then (2 i, 3 i)."""
    states = np.arange(sum(lengths), dtype=np.float32)
    return make_dataset(
        observations=states[:, None] * np.array([1, 2, 3], np.float32),
        actions=-states[:, None] / len(states),
        rewards=states,
        masks=np.ones_like(states) if masks is None else masks,
        terminals=np.isin(states, np.cumsum(lengths) - 1),
    )


LENGTHS = (2, 6, 3, 4)
STATES = states_of(LENGTHS)
AT = np.resize(np.asarray(STATES.starts), 16)

drawn = eqx.filter_jit(lambda dataset, at, seed: dataset.goals(at, jax.random.key(seed)))
seeds = st.integers(0, 1000)


def goals_of(dataset, at=AT, seed=0):
    return np.asarray(drawn(dataset, jnp.asarray(at, jnp.int32), jnp.asarray(seed)))


@given(seeds)
def test_goals_are_those_of_a_loop_with_the_same_draws(seed):
    at, starts = AT, np.asarray(STATES.starts)
    keys = jax.random.split(jax.random.key(seed), 3)
    kinds, shares = (np.asarray(jax.random.uniform(key, (16,))) for key in keys[:2])
    random = starts[np.asarray(jax.random.randint(keys[2], (16,), 0, len(starts)))]
    ends = np.cumsum(LENGTHS) - 1
    wanted = []
    for row, state in enumerate(at):
        latest, distance = ends[ends > state][0] - 1, 1
        while 0.5**distance > 1 - shares[row]:  # the probability of a larger distance
            distance += 1
        own, later = kinds[row] < 0.2, kinds[row] < 0.7
        wanted.append(state if own else min(state + distance, latest) if later else random[row])
    np.testing.assert_array_equal(goals_of(GoalDataset(STATES, 2, discount=0.5), seed=seed), wanted)


def test_goals_have_the_stated_distribution():
    length, rows, discount = 8, 20_000, 0.7
    dataset = GoalDataset(states_of([length, 5]), 1, discount=discount)
    at = 2
    found = np.bincount(goals_of(dataset, np.full(rows, at)), minlength=length + 5) / rows
    wanted = np.zeros(length + 5)
    wanted[at] = 0.2
    latest = length - 2
    ahead = discount ** np.arange(latest - at)
    wanted[at + 1 : latest] += 0.5 * ((1 - discount) * ahead)[:-1]
    wanted[latest] += 0.5 * ahead[-1]
    wanted[np.asarray(dataset.states.starts)] += 0.3 / dataset.size
    assert math.isclose(wanted.sum(), 1)
    assert np.all(np.abs(found - wanted) <= 5 * np.sqrt(wanted * (1 - wanted) / rows))


OWN, FUTURE, RANDOM = (
    GoalDataset(STATES, 1, p_current=current, p_future=future)
    for current, future in ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0))
)


@given(seeds)
def test_a_future_goal_is_a_later_state_of_the_episode_and_a_random_one_a_state_of_the_data(seed):
    ahead = goals_of(FUTURE, seed=seed) - AT
    left = (np.cumsum(LENGTHS) - 2)[np.searchsorted(np.cumsum(LENGTHS) - 1, AT)] - AT
    assert np.all((ahead >= np.minimum(left, 1)) & (ahead <= left))
    assert np.isin(goals_of(RANDOM, seed=seed), AT).all()
    np.testing.assert_array_equal(goals_of(OWN, seed=seed), AT)


@pytest.mark.parametrize("goal_dim", [1, 2])
def test_a_transition_ends_with_reward_0_where_its_goal_is_its_own_state(goal_dim):
    masks = np.resize(np.array([1, 1, 0], np.float32), sum(LENGTHS))
    states = states_of(LENGTHS, masks)
    at, goals = AT, goals_of(GoalDataset(states, goal_dim))
    assert 0 < np.sum(goals == at) < len(at)
    step = GoalDataset(states, goal_dim).transition(jnp.asarray(at), jnp.asarray(goals))
    plain = states.transition(jnp.asarray(at))
    np.testing.assert_array_equal(step.reward, np.where(goals == at, 0, -1))
    np.testing.assert_array_equal(step.discount, np.where(goals == at, 0, masks[at]))
    np.testing.assert_array_equal(step.action, plain.action)
    for found, state in ((step.observation, plain.observation), (step.next_observation, plain.next_observation)):
        np.testing.assert_array_equal(found[:, :-goal_dim], state[:, :-goal_dim])
        np.testing.assert_array_equal(found[:, -goal_dim:], states.observations[goals, -goal_dim:])
    assert step.next_action is None and step.reward.dtype == step.discount.dtype == plain.reward.dtype


def test_a_sample_is_drawn_uniformly_from_the_transitions_each_with_goals():
    dataset, rows = GoalDataset(states_of([3, 4]), 2, p_current=0.0, p_future=0.0), 5000
    batch = UniformBatches().draw_batch(dataset, None, jnp.asarray(0), jax.random.key(1), rows)
    again = jax.jit(lambda data: data.sample(jax.random.key(1), rows))(dataset)
    for found, wanted in zip(jax.tree.leaves(again), jax.tree.leaves(batch), strict=True):
        np.testing.assert_array_equal(found, wanted)
    states, goals = np.asarray(batch.observation[:, 0]), np.asarray(batch.observation[:, 1]) / 2
    np.testing.assert_array_equal(batch.next_observation[:, 0], states + 1)
    pairs, counts = np.unique(np.stack([states, goals]), axis=1, return_counts=True)
    np.testing.assert_array_equal(np.unique(pairs[0]), dataset.states.starts)
    assert len(counts) == dataset.size**2  # the goal is independent of the state
    assert np.all(np.abs(counts / rows - 1 / 25) <= 5 * np.sqrt(1 / 25 / rows))


def test_what_a_run_needs_of_a_dataset():
    states, dataset = STATES, GoalDataset(STATES, 2)
    assert isinstance(dataset, OfflineDataset)
    assert (dataset.size, dataset.observation_dim, dataset.action_dim) == (states.size, 3, 1)
    assert dataset.reward_range == (-1.0, 0.0)
    assert dataset.action_bounds == states.action_bounds
    assert GymnasiumTask(name="own", dataset=dataset, validation=dataset).observation_dim == 3
    np.testing.assert_array_equal(dataset.observations, states.observations)
    few = dataset.first_episodes(2)
    assert few.fingerprint() == GoalDataset(states.first_episodes(2), 2).fingerprint()
    at = few.states.starts
    assert goals_of(replace(few, p_current=0.0, p_future=0.0), np.resize(at, 64)).max() == at[-1]


def test_a_fingerprint_is_that_of_the_states_and_of_the_distribution():
    settings = ({}, {"goal_dim": 1}, {"discount": 0.9}, {"p_current": 0.1}, {"p_future": 0.4})
    others = [GoalDataset(STATES, **({"goal_dim": 2} | each)) for each in settings]
    others.append(GoalDataset(states_of((5, 3, 3, 4)), 2))
    assert len({each.fingerprint() for each in [STATES, *others]}) == 7
    assert GoalDataset(STATES, 2, discount=0.99).fingerprint() == others[0].fingerprint()


@pytest.mark.parametrize("reader", [NStep(2), NStep(next_action=True), ActionChunks(2, 0.9), GeometricFuture(0.9)])
def test_only_single_steps_are_read(reader):
    with pytest.raises(ValueError, match=r"`reader` must be NStep\(1\) for a GoalDataset"):
        UniformBatches(reader).draw_batch(GoalDataset(states_of([4]), 2), None, jnp.asarray(0), jax.random.key(0), 2)


def test_there_is_no_online_phase():
    task = SimpleNamespace(dataset=GoalDataset(states_of([4]), 2), make_environment=print)
    with pytest.raises(ValueError, match="`online_steps` must be 0 with a GoalDataset"):
        require_online(RunConfig(env_name="goals", agent=GaussianBCConfig(), online_steps=1), task)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"goal_dim": 0}, r"`goal_dim` must be in \[1, 2\] for observations of 3 coordinates; got 0"),
        ({"goal_dim": 3}, r"`goal_dim` must be in \[1, 2\] for observations of 3 coordinates; got 3"),
        ({"discount": 1.0}, r"`discount` must be in \(0, 1\); got 1.0"),
        ({"discount": 0.0}, r"`discount` must be in \(0, 1\); got 0.0"),
        ({"p_current": -0.1}, "`p_current` and `p_future` must be at least 0, .* got -0.1 and 0.5"),
        ({"p_current": 0.6}, "and their sum at most 1; got 0.6 and 0.5"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        GoalDataset(states_of([4]), **{"goal_dim": 2, **changes})
