r"""Transitions with what came after them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from floqzoo.hyperparameter import Hyperparameter, Number, hyperparameter, require
from floqzoo.records import FutureTransition
from floqzoo.tasks.dataset import Dataset
from floqzoo.tasks.future_replay import FutureReplay
from floqzoo.tasks.geometric_future import steps_ahead
from floqzoo.typing import Key


class FutureDataset(Dataset):
    r"""A dataset whose transitions bring the data's next action, and a future drawn from the rest of the episode.

    The future of $(s_i, a_i, s_{i+1})$ is $s_{i+1+k}$ with $k \ge 1$ drawn from a geometric law,
    $\Pr(k) \propto (1 - \gamma) \gamma^{k-1}$, cut off at the episode's last state: with the end of the recording $L$
    steps away, $k \le L$. What lies beyond, a share of $\gamma^L$, cannot be known, and the law is the geometric one
    given that it ends in time. So futures near the end of an episode are too near: a bias of Monte Carlo that
    targets by bootstrap do not have. Where $s_{i+1}$ is itself the last state, the future is $s_{i+1}$.

    - `last`: The last state of the episode of each state.
    - `discount`: $\gamma$ in [0, 1).
    """

    last: Int[Array, " states"]
    discount: Hyperparameter

    @staticmethod
    def of(dataset: Dataset, discount: Number) -> "FutureDataset":
        """The same transitions, with futures.

        **Raises** `ValueError` if the discount is outside [0, 1).
        """
        number = hyperparameter(discount)
        require("discount", number, lambda value: (value >= 0) & (value < 1), "in [0, 1)")
        ends = np.setdiff1d(np.arange(len(dataset.rewards)), np.asarray(dataset.starts))
        last = ends[np.searchsorted(ends, np.arange(len(dataset.rewards)))].astype(np.int32)
        return FutureDataset(
            dataset.observations,
            dataset.actions,
            dataset.rewards,
            dataset.masks,
            dataset.starts,
            jnp.asarray(last),
            number,
        )

    def sample(self, key: Key, batch_size: int) -> FutureTransition:
        """Draws transitions uniformly, with replacement, and a future for each."""
        row_key, future_key = jax.random.split(key)
        return self.draw(jax.random.randint(row_key, (batch_size,), 0, self.size), future_key)

    def draw(self, indices: Int[Array, " batch"], key: Key) -> FutureTransition:
        """The transitions of these numbers, each in [0, `size`), with futures."""
        state, step = self.starts[indices], self.transitions(indices)
        ahead = steps_ahead(key, self.last[state] - state - 1, jnp.asarray(self.discount.value))
        return FutureTransition(
            step.observation,
            step.action,
            step.reward,
            step.mask,
            step.next_observation,
            next_action=self.actions[state + 1],
            future=self.observations[state + 1 + ahead],
        )

    def empty_replay(self, *, seeds: int, slots: int, environments: int) -> FutureReplay:
        """A replay buffer, without transitions, whose draws are like those of this dataset."""
        like = jax.eval_shape(self.transitions, jnp.zeros((), np.int32))
        return FutureReplay.of(like, seeds=seeds, slots=slots, environments=environments, discount=self.discount)
