"""The maze of cells against plain loops over its map."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from floqzoo.tasks.cell_maze import CORNERS, CellMaze


MAZE = CellMaze()
SMALL = CellMaze((".#.", "..G"), discount=0.8)


def moved(maze: CellMaze, cell: int, across: int, down: int) -> int:
    """The cell next to one, or the same one at a wall."""
    places = maze.places.tolist()
    x, y = places[cell]
    return places.index([x + across, y + down]) if [x + across, y + down] in places else cell


def next_cells(maze: CellMaze, cell: int, action: np.ndarray) -> np.ndarray:
    """The distribution of the next cell: first the column moves, then the row."""
    chance = np.zeros(len(maze.places))
    for across in (0, 1):
        for down in (0, 1):
            share = np.prod(
                [0.8 * abs(a) if moves else 1 - 0.8 * abs(a) for a, moves in zip(action, (across, down), strict=True)]
            )
            after = moved(maze, cell, across * int(np.sign(action[0])), 0)
            chance[moved(maze, after, 0, down * int(np.sign(action[1])))] += share
    return chance


@given(cell=st.integers(0, len(MAZE.places) - 1), x=st.floats(-1, 1, width=32), y=st.floats(-1, 1, width=32))
def test_the_next_cell_is_that_of_a_walk_over_the_map(cell, x, y):
    action = np.array([x, y], np.float32)
    rows = MAZE.transition_rows(jnp.asarray(cell), jnp.asarray(action))
    np.testing.assert_allclose(rows, next_cells(MAZE, cell, action), atol=1e-6)


@pytest.mark.parametrize("maze", [MAZE, SMALL])
def test_the_optimal_values_are_those_of_value_iteration(maze):
    chances = np.array([[next_cells(maze, cell, a) for cell in range(len(maze.places))] for a in CORNERS])
    values = np.zeros(len(maze.places))
    for _ in range(1_000):
        values = np.where(maze.rewards < 0, -1 + float(maze.discount.value) * (chances @ values).max(axis=0), 0.0)
    np.testing.assert_allclose(maze.optimal_values(), values, rtol=1e-4, atol=1e-4)


def test_the_values_of_a_policy_are_those_of_its_iteration():
    choice = np.random.default_rng(0).dirichlet(np.ones(4), len(SMALL.places))
    chances = np.array([[next_cells(SMALL, cell, a) for cell in range(len(SMALL.places))] for a in CORNERS])
    values = np.zeros(len(SMALL.places))
    for _ in range(500):
        values = np.where(SMALL.rewards < 0, -1 + 0.8 * np.einsum("sa,ast,t->s", choice, chances, values), 0.0)
    np.testing.assert_allclose(SMALL.policy_values(jnp.asarray(choice, float)), values, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_q_is_reward_and_discounted_value():
    values = MAZE.optimal_values()
    batch = MAZE.sample(jax.random.key(0), 64)
    q = jax.vmap(partial(MAZE.q_value, values))(batch.observation, batch.action)
    for observation, action, reward, found in zip(batch.observation, batch.action, batch.reward, q, strict=True):
        chance = next_cells(MAZE, int(MAZE.cell_of(observation)), np.asarray(action))
        expected = float(reward) + 0.95 * (float(reward) != 0) * chance @ np.asarray(values)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_data_follow_the_dynamics():
    """Rewards and ends by the cell; next cells as often as their chance, over many draws."""
    batch = jax.jit(lambda key: SMALL.sample(key, 40_000))(jax.random.key(1))
    cells = np.asarray(jax.vmap(SMALL.cell_of)(batch.observation))
    following = np.asarray(jax.vmap(SMALL.cell_of)(batch.next_observation))
    np.testing.assert_array_equal(batch.reward, -(cells != SMALL.goal).astype(float))
    np.testing.assert_array_equal(batch.discount, (cells != SMALL.goal).astype(float))
    assert np.abs(np.bincount(cells) / len(cells) - 1 / len(SMALL.places)).max() < 0.01
    expected = np.array(
        [next_cells(SMALL, c, a) for c, a in zip(cells[:4_000], np.asarray(batch.action[:4_000]), strict=True)]
    )
    drawn = np.eye(len(SMALL.places))[following[:4_000]]
    for cell in range(len(SMALL.places)):
        here = cells[:4_000] == cell
        spread = np.sqrt((expected[here] * (1 - expected[here])).sum(axis=0)) + 1e-6
        assert np.all(np.abs(drawn[here].sum(axis=0) - expected[here].sum(axis=0)) < 5 * spread)


@given(seed=st.integers(0, 2**31 - 1))
def test_an_observation_tells_its_cell(seed):
    cell = seed % len(MAZE.places)
    observation = MAZE.observe(jnp.asarray(cell), jax.random.key(seed))
    assert int(MAZE.cell_of(observation)) == cell
    assert np.all(np.abs(observation) <= 1)


@pytest.mark.parametrize("rows", [(), ("..", "G"), ("..",), ("G.G",), ("G?",)])
def test_other_maps_are_refused(rows):
    with pytest.raises(ValueError, match="`rows` must be strings of equal length"):
        CellMaze(rows)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="`discount`"):
        CellMaze(discount=1.0)
    with pytest.raises(ValueError, match="`spread`"):
        CellMaze(spread=1.0)
