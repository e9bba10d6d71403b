"""A ring of cells in the plane, whose exact occupancy is the solution of a linear system."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from floqzoo.hyperparameter import Hyperparameter, hyperparameter, require
from floqzoo.policies.function_policy import FunctionPolicy
from floqzoo.records import Transition
from floqzoo.typing import Action, Array, Key, Observation, Scalar


class Ring(eqx.Module):
    r"""A ring of cells on the unit circle, whose successor measure is known exactly.

    An action $a$ moves the agent one cell forward with probability $(1 + a) / 2$, and one cell back otherwise. An
    observation is the centre of the cell plus uniform noise on a disc, which is small enough to identify the cell. The
    policy always takes the action `drift`. The behaviour policy takes uniformly random actions in uniformly random
    cells. With the transition matrices $P$ of the policy and $P_a$ of the first action, the successor measure over the
    cells is

    $$m(\cdot \mid s, a) = (1 - \gamma) P_a(s, \cdot) (I - \gamma P)^{-1}.$$

    The probability of each cell is spread uniformly over the observations on its disc.

    - `cells`: The number of cells, at least 3.
    - `drift`: The policy's action, in [-1, 1].
    - `discount`: $\gamma$ in [0, 1).
    - `radius`: The radius of the discs as a fraction of half the distance between neighbouring centres, in (0, 1).

    **Raises** `ValueError` if a value is out of range.
    """

    cells: int = eqx.field(static=True, default=12)
    drift: Hyperparameter = eqx.field(converter=hyperparameter, default=0.6)
    discount: Hyperparameter = eqx.field(converter=hyperparameter, default=0.9)
    radius: Hyperparameter = eqx.field(converter=hyperparameter, default=0.8)

    def __check_init__(self):
        if self.cells < 3:
            raise ValueError(f"`cells` must be at least 3; got {self.cells}.")
        require("drift", self.drift, lambda value: np.abs(value) <= 1, "in [-1, 1]")
        require("discount", self.discount, lambda value: (value >= 0) & (value < 1), "in [0, 1)")
        require("radius", self.radius, lambda value: (value > 0) & (value < 1), "in (0, 1)")

    @property
    def observation_dim(self) -> int:
        """The number of coordinates of an observation, 2."""
        return 2

    @property
    def action_dim(self) -> int:
        """The number of coordinates of an action, 1."""
        return 1

    @property
    def centres(self) -> Float[Array, "cells 2"]:
        """The centres of the cells."""
        angles = 2 * jnp.pi * jnp.arange(self.cells, dtype=float) / self.cells
        return jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)

    @property
    def disc_radius(self) -> Scalar:
        """The radius of a cell's disc."""
        return self.radius.value * jnp.sin(jnp.pi / self.cells)

    def cell_of(self, observation: Observation) -> Int[Array, ""]:
        """Returns the index of the cell whose centre is nearest to `observation`."""
        return jnp.argmax(self.centres @ observation)

    @property
    def policy(self) -> FunctionPolicy:
        """The policy that always takes the action `drift`, for which the successor measure is defined."""
        return FunctionPolicy(self.policy_action)

    def policy_action(self, observation: Observation) -> Action:
        """Returns the policy's action, which is `drift` for any observation."""
        del observation
        return jnp.asarray(self.drift.value)[None]

    def transition_matrix(self, action: Action) -> Float[Array, "cells cells"]:
        """Returns the transition matrix from cell (row) to cell (column) if the same action is taken in every cell."""
        onward = jnp.roll(jnp.eye(self.cells), 1, axis=1)
        share = (1 + action[0]) / 2
        return share * onward + (1 - share) * onward.T

    def occupancy(self, observation: Observation, action: Action) -> Float[Array, " cells"]:
        """Returns the probability of each cell under the successor measure of a state and an action."""
        gamma = self.discount.value
        policy = self.transition_matrix(jnp.asarray(self.drift.value)[None])
        first = self.transition_matrix(action)[self.cell_of(observation)]
        return (1 - gamma) * jnp.linalg.solve((jnp.eye(self.cells) - gamma * policy).T, first)

    def masses(self, observations: Float[Array, "count 2"]) -> Float[Array, " cells"]:
        """Returns, for each cell, the fraction of the observations whose nearest centre is that of the cell."""
        return jnp.mean(jax.nn.one_hot(jax.vmap(self.cell_of)(observations), self.cells), axis=0)

    def starts(self, key: Key, count: int) -> Float[Array, "count 2"]:
        """Samples observations from the behaviour policy's state distribution."""
        cell_key, noise_key = jax.random.split(key)
        return self._observe(jax.random.randint(cell_key, (count,), 0, self.cells), noise_key)

    def sample(self, key: Key, batch_size: int) -> Transition:
        """Samples transitions of the behaviour policy, with rewards of 0.

        The next actions and the future observations in the transitions are those of `policy`.
        """

        def draw(key):
            start_key, action_key, step_key, noise_key, future_key = jax.random.split(key, 5)
            observation = self.starts(start_key, 1)[0]
            action = jax.random.uniform(action_key, (1,), minval=-1, maxval=1)
            step = jnp.where(jax.random.uniform(step_key) < (1 + action[0]) / 2, 1, -1)
            cell = (self.cell_of(observation) + step) % self.cells
            next_observation = self._observe(cell[None], noise_key)[0]
            next_action = jnp.asarray(self.drift.value)[None]
            future = self.sample_futures(next_observation, next_action, 1, future_key)[0]
            zero = jnp.zeros(())
            return Transition(observation, action, zero, zero + 1, next_observation, next_action, future)

        return jax.vmap(draw)(jax.random.split(key, batch_size))

    def sample_futures(self, observation: Observation, action: Action, count: int, key: Key) -> Float[Array, "count 2"]:
        """Draws `count` future observations from the successor measure of a state and an action."""
        cell_key, noise_key = jax.random.split(key)
        cells = jax.random.categorical(cell_key, jnp.log(self.occupancy(observation, action)), shape=(count,))
        return self._observe(cells, noise_key)

    def log_prob(self, future: Observation, observation: Observation, action: Action) -> Scalar:
        """Returns the log-density of the successor measure at a future observation.

        Outside the discs, the density is 0 and the result is minus infinity.
        """
        cell = self.cell_of(future)
        inside = jnp.sum((future - self.centres[cell]) ** 2) <= self.disc_radius**2
        log_mass = jnp.log(self.occupancy(observation, action)[cell])
        return jnp.where(inside, log_mass - jnp.log(jnp.pi * self.disc_radius**2), -jnp.inf)

    def value(self, observation: Observation, action: Action, reward: Float[Array, " cells"]) -> Scalar:
        """Returns the exact Q-value for a reward that depends only on the cell of the next state.

        - `reward`: The reward for entering each cell.
        """
        return self.occupancy(observation, action) @ reward / (1 - self.discount.value)

    def _observe(self, cells: Int[Array, " count"], key: Key) -> Float[Array, "count 2"]:
        angle_key, radius_key = jax.random.split(key)
        angle = jax.random.uniform(angle_key, cells.shape, maxval=2 * jnp.pi)
        radius = self.disc_radius * jnp.sqrt(jax.random.uniform(radius_key, cells.shape))
        return self.centres[cells] + radius[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
