"""Computes value maps of mazes with a point agent, which show the value of a policy at each position."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from floqzoo.records import ActorCritic
from floqzoo.typing import Array, Key


DRAWS = 8
"""The number of actions that are drawn at each position; each is evaluated with a separate noise sample."""


class ValueMap(eqx.Module):
    """The values of a policy on a rectangular grid of positions in a maze.

    - `x`, `y`: The coordinates of the columns and of the rows of the grid, in the maze's units of length.
    - `values`: The value at each position, or NaN inside a wall; the first axis is along `y`.
    - `walls`: Whether each position is inside a wall.
    - `actions`: The mean action of the policy at each position.
    - `start`, `goal`: The positions of the start and the goal in one episode.
    """

    x: Float[np.ndarray, " columns"]
    y: Float[np.ndarray, " rows"]
    values: Float[np.ndarray, "rows columns"]
    walls: Bool[np.ndarray, "rows columns"]
    actions: Float[np.ndarray, "rows columns 2"]
    start: Float[np.ndarray, "2"]
    goal: Float[np.ndarray, "2"]


def value_map(actor: ActorCritic, make_environment: Callable[[], Any], *, places: int = 8, seed: int = 0) -> ValueMap:
    """Computes the value of a policy at each position of a maze, averaged over noise samples and the policy's actions.

    - `actor`: A policy with its flow critic.
    - `make_environment`: A function that creates an OGBench maze with a point agent, such as pointmaze.
    - `places`: The number of positions along each side of a maze cell, at least 1.
    - `seed`: The seed of the start and the goal, the noise samples and the actions.

    **Raises** `ValueError` if the environment is not a maze, or if its observations contain more than the position of
    the agent, as in antmaze and humanoidmaze.
    """
    environment = make_environment()
    try:
        observation, _ = environment.reset(seed=seed)
        maze = environment.unwrapped
        if not hasattr(maze, "maze_map") or len(observation) != 2:
            raise ValueError("a value map needs a maze whose observations are positions, such as pointmaze.")
        x, y, walls = _places(maze, places)
        start, goal = (np.asarray(place, float) for place in (observation, maze.cur_goal_xy))
    finally:
        environment.close()
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    observations = jnp.asarray(grid, dtype=float)
    actions, values = (np.asarray(a, float) for a in _values(actor, observations, jax.random.key(seed)))
    values = np.where(walls, np.nan, values.reshape(walls.shape))
    return ValueMap(x, y, values, walls, actions.reshape(*walls.shape, 2), start, goal)


def _places(maze: Any, places: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The x and y coordinates of a grid with `places` points along each side of a cell, and a mask of the walls."""
    rows, columns = maze.maze_map.shape
    corner, next_cell = (np.array(maze.ij_to_xy(cell)) for cell in ((0, 0), (1, 1)))
    unit = next_cell - corner
    inside = (np.arange(places) + 0.5) / places - 0.5
    x, y = (
        (corner[axis] + unit[axis] * (np.arange(count)[:, None] + inside)).reshape(-1)
        for axis, count in ((0, columns), (1, rows))
    )
    walls = np.kron(maze.maze_map, np.ones((places, places))) > 0
    return x, y, walls


@eqx.filter_jit
def _values(
    actor: ActorCritic, observations: Float[Array, "places 2"], key: Key
) -> tuple[Float[Array, "places action"], Float[Array, " places"]]:
    critic = actor.critic

    def at(place):
        observation, key = place
        action_key, noise_key = jax.random.split(key)
        actions = jax.vmap(actor.act, (None, 0))(observation, jax.random.split(action_key, DRAWS))
        noise = critic.prior.sample(noise_key, (DRAWS, 1))
        ends = jax.vmap(critic.returns, (None, 0, 0))(actor.normalised(observation), actions, noise)
        return jnp.mean(actions, axis=0), jnp.mean(ends)

    keys = jax.random.split(key, len(observations))
    return jax.lax.map(at, (observations, keys), batch_size=256)
