r"""Datasets in which each transition gets a goal when it is sampled."""

import hashlib
import math
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from floqzoo.records import Transition
from floqzoo.tasks.dataset import Dataset
from floqzoo.typing import Array, Key


class GoalDataset(eqx.Module):
    r"""A dataset for learning to reach goals: the last coordinates of an observation represent a goal.

    A sampled transition from state $i$ gets the goal state

    $$g = \begin{cases} i & \text{with probability } p_c \\
    \min(i + k, T) & \text{with probability } p_f, \quad \Pr(k) = (1 - \gamma) \gamma^{k-1} \\
    j & \text{otherwise, } j \text{ uniform over the data,} \end{cases}$$

    where $T$ is the last state of the episode at which a transition starts, and $j$ is also such a state. The
    representation of $g$ replaces the last coordinates of the observation and of the next observation. If $g = i$, the
    reward is 0 and the discount is 0; otherwise the reward is -1 and the discount is that of the data. The policy and
    the critic of any method that learns from the rewards of single steps are thus conditioned on the goal.

    - `states`: The dataset. The last `goal_dim` coordinates of an observation must be the representation of the state
      itself. The rewards are not used.
    - `goal_dim`: The number of coordinates that represent a goal, at least 1 and below the number of coordinates of an
      observation.
    - `discount`: $\gamma$ in (0, 1), the discount of the geometric distribution.
    - `p_current`, `p_future`: $p_c$ and $p_f$, which are at least 0; their sum is at most 1.

    **Raises** `ValueError` if a number is out of range.

    Source: the reference implementations of OGBench (arXiv 2410.20092), in which these are the distribution and the
    defaults of the goals of value functions.
    """

    states: Dataset
    goal_dim: int = eqx.field(static=True)
    discount: float = eqx.field(static=True, default=0.99)
    p_current: float = eqx.field(static=True, default=0.2)
    p_future: float = eqx.field(static=True, default=0.5)

    def __check_init__(self):
        if not 1 <= self.goal_dim < self.observation_dim:
            raise ValueError(
                f"`goal_dim` must be in [1, {self.observation_dim - 1}] for observations of {self.observation_dim} "
                f"coordinates; got {self.goal_dim}."
            )
        if not 0 < self.discount < 1:
            raise ValueError(f"`discount` must be in (0, 1); got {self.discount}.")
        if not (self.p_current >= 0 and self.p_future >= 0 and self.p_current + self.p_future <= 1):
            raise ValueError(
                "`p_current` and `p_future` must be at least 0, and their sum at most 1; got "
                f"{self.p_current} and {self.p_future}."
            )

    def first_episodes(self, count: int) -> "GoalDataset":
        """Returns the dataset with the transitions and goals of its first `count` episodes only.

        **Raises** `ValueError` if the dataset has fewer than `count` episodes, or if `count` is below 1.
        """
        return replace(self, states=self.states.first_episodes(count))

    @property
    def size(self) -> int:
        """The number of transitions."""
        return self.states.size

    @property
    def observations(self) -> Float[Array, "states observation"]:
        """The observations of all states, each with its own representation in place of a goal."""
        return self.states.observations

    @property
    def observation_dim(self) -> int:
        """The number of coordinates of an observation, including those of the goal."""
        return self.states.observation_dim

    @property
    def action_dim(self) -> int:
        """The number of coordinates of an action."""
        return self.states.action_dim

    @property
    def action_bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """The action bounds with which `states` was made; see `Dataset.action_bounds`."""
        return self.states.action_bounds

    @property
    def reward_range(self) -> tuple[float, float]:
        """The minimum and the maximum reward, -1 and 0."""
        return -1.0, 0.0

    def sample(self, key: Key, batch_size: int) -> Transition:
        """Samples transitions uniformly, with replacement, and a goal for each."""
        start_key, goal_key = jax.random.split(key)
        at = self._random_states(start_key, batch_size)
        return self.transition(at, self.goals(at, goal_key))

    def goals(self, at: Int[Array, " batch"], key: Key) -> Int[Array, " batch"]:
        """Samples the index of a goal state for each transition, given the indices `at` of their first states."""
        kind_key, future_key, random_key = jax.random.split(key, 3)
        kind, share = (jax.random.uniform(key, at.shape) for key in (kind_key, future_key))
        left = self.states.steps_left(at)
        ahead = jnp.minimum(1 + jnp.log1p(-share) / math.log(self.discount), left.astype(share.dtype))
        goals = jnp.where(
            kind < self.p_current + self.p_future,
            self.states.later(at, ahead.astype(at.dtype)),
            self._random_states(random_key, len(at)),
        )
        return jnp.where(kind < self.p_current, at, goals)

    def transition(self, at: Int[Array, " batch"], goals: Int[Array, " batch"]) -> Transition:
        """Returns the transitions that start at the states with indices `at`, with the states `goals` as goals."""
        step, reached = self.states.transition(at), goals == at
        goal = self.states.observations[goals, -self.goal_dim :]
        return replace(
            step.with_observations(lambda observation: observation.at[:, -self.goal_dim :].set(goal)),
            reward=jnp.where(reached, jnp.zeros_like(step.reward), -1),
            discount=jnp.where(reached, 0, step.discount),
            next_action=None,
        )

    def fingerprint(self) -> str:
        """Returns a SHA-256 hash of the fingerprint of `states` and of the distribution of the goals."""
        distribution = (self.goal_dim, float(self.discount), float(self.p_current), float(self.p_future))
        return hashlib.sha256(f"{self.states.fingerprint()} {distribution}".encode()).hexdigest()

    def _random_states(self, key: Key, count: int) -> Int[Array, " batch"]:
        return self.states.starts[jax.random.randint(key, (count,), 0, self.size)]
