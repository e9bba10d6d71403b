r"""TD targets on random Markov decision processes, whose values are the solution of a linear system.

Three states, told apart by the coordinates of the observation, so that a linear critic holds any table of values; the
last is absorbing. Targets are asked for every pair of states $(s, s')$ at once, and weighed by $P(s' \mid s)$.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from doubles import ACTION, OBSERVATION, SteadyPolicy
from hypothesis import given, strategies as st
from linear_world import COPIES, MEMBERS, World
from test_td_targets import every_aggregation, every_backup, uncompiled_targets

import floqzoo as fz
from floqzoo.testing import assert_close


pytestmark = pytest.mark.slow


STATES = OBSERVATION
FROM, TO = np.divmod(np.arange(STATES**2), STATES)
discounts = st.integers(0, 15).map(lambda n: n / 16)
seeds = st.integers(0, 999)


class MDP:
    """Random rewards, masks and transitions under the policy; from the last state there is no way out and no reward."""

    def __init__(self, seed, discount):
        draw = np.random.default_rng(seed)
        self.discount = discount
        self.chances = draw.dirichlet(np.ones(STATES), STATES)
        self.rewards, self.masks = draw.uniform(-1, 1, STATES), draw.integers(0, 2, STATES).astype(float)
        self.chances[-1], self.rewards[-1], self.masks[-1] = np.eye(STATES)[-1], 0.0, 1.0

    @property
    def values(self):
        r"""$V = (I - \gamma M P)^{-1} r$, with the masks $M$ on the diagonal."""
        return np.linalg.solve(np.eye(STATES) - self.discount * self.masks[:, None] * self.chances, self.rewards)

    def sweep(self, values, backup, aggregation, spread=1.0):
        """The expected target at every state, where the target critic holds some values and its noise has mean 0."""
        targets = program(backup, aggregation)(self.world(values, spread), jax.random.key(0))
        return np.bincount(FROM, self.chances[FROM, TO] * np.asarray(targets, np.float64).mean(axis=1))

    def world(self, values, spread):
        def floating(numbers, *shape):
            return jnp.broadcast_to(jnp.asarray(numbers, dtype=float), shape or np.shape(numbers))

        pairs = STATES**2
        batch = fz.Transition(
            observation=floating(np.eye(STATES)[FROM]),
            action=floating(0.0, pairs, ACTION),
            reward=floating(self.rewards[FROM]),
            discount=floating(self.masks[FROM]),
            next_observation=floating(np.eye(STATES)[TO]),
        )
        weight = floating(np.concatenate([values, np.zeros(ACTION)]), MEMBERS, STATES + ACTION)
        noise = floating(np.linspace(-1, 1, COPIES)[:, None], pairs, COPIES, 1)
        return World(weight, floating(0.0, MEMBERS), floating(spread, MEMBERS), floating(self.discount), batch, noise)


@functools.cache
def program(backup, aggregation):
    return jax.jit(lambda world, key: uncompiled_targets(backup, aggregation, SteadyPolicy(), world, key))


@every_backup
@every_aggregation
@given(seed=seeds, discount=discounts)
def test_the_exact_values_are_the_fixed_point(backup, aggregation, seed, discount):
    mdp = MDP(seed, discount)
    found = mdp.sweep(mdp.values, backup, aggregation)
    assert_close(jnp.asarray(found, dtype=float), mdp.values, scale=1 + 1 / (1 - discount))


@every_backup
@given(seed=seeds, discount=discounts)
def test_a_sweep_brings_two_guesses_nearer_by_the_discount(backup, seed, discount):
    r"""$\lVert \mathcal T V - \mathcal T W \rVert_\infty \le \gamma \lVert V - W \rVert_\infty$."""
    mdp, draw = MDP(seed, discount), np.random.default_rng(seed)
    first, second = draw.normal(size=(2, STATES))
    gap = np.abs(mdp.sweep(first, backup, "mean") - mdp.sweep(second, backup, "mean")).max()
    assert gap <= discount * np.abs(first - second).max() + 1e-5


@pytest.mark.parametrize("discount", [0.0, 1.0])
def test_an_absorbing_state_is_worth_its_reward_for_ever_or_once(discount):
    mdp = MDP(0, 0.75)
    mdp.rewards[-1], mdp.masks[-1] = -1.0, discount
    values = np.zeros(STATES)
    for _ in range(60):  # 0.75 ** 60 of the first error is left: 3e-8
        values = mdp.sweep(values, "expected", "mean")
    np.testing.assert_allclose(values[-1], -4.0 if discount else -1.0, rtol=1e-5)
    np.testing.assert_allclose(values, mdp.values, rtol=1e-5, atol=1e-6)
