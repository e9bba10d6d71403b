"""A grid maze with walls and a goal, for which the exact values are known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.records import Transition
from floqzoo.typing import Action, Array, Key, Observation, Scalar


SERPENTINE = (
    ".......",
    ".......",
    "#####..",
    ".......",
    "..#####",
    ".......",
    "......G",
)
CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
"""The actions that greedy policies choose from: full speed along both axes."""


class CellMaze(eqx.Module):
    r"""A grid maze with known values, in which every step costs 1 until the goal is reached, as in OGBench's tasks.

    An action $a \in [-1, 1]^2$ first moves the agent by one column, in the direction of the sign of $a_1$, with
    probability $0.8 |a_1|$. Then, independently, it moves the agent by one row, in the direction of the sign of $a_2$,
    with probability $0.8 |a_2|$. A move into a wall or the border has no effect. The reward is $r(s) = -1$, and 0 at
    the goal, where the episode ends. An observation is the centre of the cell, in $[-1, 1]^2$, plus uniform noise
    within the cell. The cells and actions of the data are drawn uniformly, so the data cover every cell and action, and
    all errors are due to the critic. With the transition matrix $P_a$ of action $a$,

    $$Q^\pi(s, a) = r(s) + \gamma \, 1[s \ne \text{goal}] \sum_{s'} P_a(s, s') V^\pi(s'),$$

    and $V^\pi$ solves a linear system.

    - `rows`: The map: strings of equal length that consist of `.` (free), `#` (wall) and exactly one `G` (goal).
    - `discount`: $\gamma$ in [0, 1).
    - `spread`: The width of the observation noise as a fraction of the width of a cell, in [0, 1).

    **Raises** `ValueError` if the map is invalid or a value is out of range.
    """

    rows: tuple[str, ...] = eqx.field(static=True, default=SERPENTINE)
    discount: Hyperparameter = eqx.field(converter=hyperparameter, default=0.95)
    spread: Hyperparameter = eqx.field(converter=hyperparameter, default=0.9)

    def __check_init__(self):
        text = "".join(self.rows)
        if not text or len({len(row) for row in self.rows}) > 1 or set(text) - set(".#G") or text.count("G") != 1:
            raise ValueError(
                f"`rows` must be strings of equal length of '.', '#' and 'G', with exactly one 'G' in the maze; got {self.rows}."
            )
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")
        require("spread", self.spread, lambda value: (value >= 0) & (value < 1), "in [0, 1)")

    @property
    def observation_dim(self) -> int:
        """The number of coordinates of an observation, 2."""
        return 2

    @property
    def action_dim(self) -> int:
        """The number of coordinates of an action, 2: one for each axis."""
        return 2

    @property
    def places(self) -> Int[np.ndarray, "cells 2"]:
        """The column and the row of each free cell, including the goal."""
        return np.array([(x, y) for y, row in enumerate(self.rows) for x, mark in enumerate(row) if mark != "#"])

    @property
    def goal(self) -> int:
        """The index of the goal among the free cells."""
        return "".join(self.rows).replace("#", "").index("G")

    @property
    def centres(self) -> Float[Array, "cells 2"]:
        """The centres of the free cells, as observations without noise."""
        return jnp.asarray((self.places - self._middle) * self._cell)

    @property
    def rewards(self) -> Float[np.ndarray, " cells"]:
        """The reward in each free cell: -1, and 0 at the goal."""
        return -(np.arange(len(self.places)) != self.goal).astype(float)

    def cell_of(self, observation: Observation) -> Int[Array, ""]:
        """Returns the index of the cell whose centre is nearest to `observation`."""
        return jnp.argmin(jnp.sum((self.centres - observation[None]) ** 2, axis=1))

    def transition_rows(self, cell: Int[Array, ""], action: Action) -> Float[Array, " cells"]:
        """Returns the probability of each next cell. The result is meaningless at the goal, where the episode ends."""
        share = 0.8 * jnp.abs(action)
        columns = self._onto([(-1, 0), (0, 0), (1, 0)])
        lines = self._onto([(0, -1), (0, 0), (0, 1)])

        def moves(table, value, probability):
            side = jnp.where(value < 0, 0, 2)
            return (1 - probability) * table[1] + probability * table[side]

        # Column first, then row: a diagonal move needs both cells on its way to be free.
        return moves(columns, action[0], share[0])[cell] @ moves(lines, action[1], share[1])

    def corner_transitions(self) -> Float[Array, "corners cells cells"]:
        """Returns the transition matrix of each action in `CORNERS`: the four actions with coordinates -1 or 1."""
        cells = jnp.arange(len(self.places))
        return jax.vmap(lambda action: jax.vmap(lambda cell: self.transition_rows(cell, action))(cells))(
            jnp.asarray(CORNERS)
        )

    def optimal_values(self, sweeps: int = 2_000) -> Float[Array, " cells"]:
        """Computes the state values of the best policy that takes only the actions in `CORNERS`, using value iteration.

        - `sweeps`: The number of iterations.
        """
        transitions = self.corner_transitions()

        def sweep(values, _):
            return self._backed_up(jnp.max(transitions @ values, axis=0)), None

        return jax.lax.scan(sweep, jnp.zeros(len(self.places)), None, length=sweeps)[0]

    def policy_values(self, choice: Float[Array, "cells corners"]) -> Float[Array, " cells"]:
        """Returns the state values of a policy, given the probability of each action in `CORNERS` in each cell."""
        follows = jnp.asarray(np.arange(len(self.places)) != self.goal, dtype=float)
        matrix = jnp.einsum("sa,ast->st", choice, self.corner_transitions())
        system = jnp.eye(len(self.places)) - self.discount.value * follows[:, None] * matrix
        return jnp.linalg.solve(system, jnp.asarray(self.rewards))

    def q_value(self, values: Float[Array, " cells"], observation: Observation, action: Action) -> Scalar:
        """Returns the Q-value of an action under the policy with the given state values."""
        cell = self.cell_of(observation)
        return self._backed_up(self.transition_rows(cell, action) @ values, cell)

    def sample(self, key: Key, batch_size: int) -> Transition:
        """Samples transitions with uniformly drawn initial cells and actions."""

        def draw(key):
            cell_key, action_key, step_key, now_key, next_key = jax.random.split(key, 5)
            cell = jax.random.randint(cell_key, (), 0, len(self.places))
            action = jax.random.uniform(action_key, (2,), minval=-1, maxval=1)
            following = jax.random.categorical(step_key, jnp.log(self.transition_rows(cell, action)))
            reward = jnp.asarray(self.rewards)[cell]
            return Transition(self.observe(cell, now_key), action, reward, -reward, self.observe(following, next_key))

        return jax.vmap(draw)(jax.random.split(key, batch_size))

    def observe(self, cell: Int[Array, ""], key: Key) -> Observation:
        """Samples an observation of a cell: its centre plus uniform noise."""
        noise = jax.random.uniform(key, (2,), minval=-1, maxval=1)
        return self.centres[cell] + self.spread.value * self._cell / 2 * noise

    @property
    def _middle(self) -> Float[np.ndarray, "2"]:
        return (np.array([len(self.rows[0]), len(self.rows)]) - 1) / 2

    @property
    def _cell(self) -> float:
        """The side length of a cell; the longer side of the map has length 2."""
        return 2 / max(len(self.rows[0]), len(self.rows))

    def _onto(self, steps: list[tuple[int, int]]) -> Float[Array, "steps cells cells"]:
        """The transition matrix of each step, from cell (row) to cell (column); a blocked step stays in its cell."""
        index = {tuple(place): number for number, place in enumerate(self.places.tolist())}
        matrices = np.zeros((len(steps), len(index), len(index)))
        for number, (across, down) in enumerate(steps):
            for (x, y), cell in index.items():
                matrices[number, cell, index.get((x + across, y + down), cell)] = 1
        return jnp.asarray(matrices, dtype=float)

    def _backed_up(self, following: Array, cell: Int[Array, ""] | slice = slice(None)) -> Array:
        """The reward of a cell plus, except at the goal, the discounted value `following` of the next cell."""
        reward = jnp.asarray(self.rewards)[cell]
        return reward - self.discount.value * reward * following
