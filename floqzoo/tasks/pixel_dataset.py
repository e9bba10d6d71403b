"""Datasets of pixel observations, with each frame stored once."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8

from floqzoo.records import Transition
from floqzoo.tasks.dataset import Dataset
from floqzoo.typing import Array, Key


class PixelDataset(eqx.Module):
    r"""Episodes of frames, whose observations are stacks of the latest frames.

    The observation of state $i$ consists of the frames $i - k + 1, \dots, i$ of its episode, the oldest first; missing
    frames before the first one are copies of it. Each frame is stored once, as uint8, and stacks are assembled when
    they are read. With 3 frames, this takes a sixth of the memory that stacked observations and next observations of
    all transitions would take in uint8, and 1/24 of what they would take in float32.

    - `frames`: The dataset of single frames, whose `observations` are uint8, with one flattened frame for each state.
    - `first`: For each state, the index of the first state of its episode, as `PixelDataset.of` computes it.
    - `frame_stack`: $k$, at least 1; 3 in the papers.

    **Raises** `ValueError` if `frame_stack` is below 1.

    Source: the official code of FQL (arXiv 2502.02538), `--frame_stack`.
    """

    frames: Dataset
    first: Int[Array, " states"]
    frame_stack: int = eqx.field(static=True)

    def __check_init__(self):
        if self.frame_stack < 1:
            raise ValueError(f"`frame_stack` must be at least 1; got {self.frame_stack}.")

    @staticmethod
    def of(frames: Dataset, frame_stack: int) -> "PixelDataset":
        """Creates the dataset whose observations are stacks of the observations of `frames`.

        **Raises** `ValueError` if `frame_stack` is below 1, or the observations are not uint8.
        """
        if frames.observations.dtype != np.uint8:
            raise ValueError(f"`frames` must have observations of bytes (uint8); got {frames.observations.dtype}.")
        ends, episode = np.unique(np.asarray(frames.last), return_inverse=True)
        first = np.concatenate([[0], ends[:-1] + 1])[episode]
        return PixelDataset(frames, jnp.asarray(first.astype(np.int32)), frame_stack)

    def with_next_actions(self) -> "PixelDataset":
        """The dataset without the transitions whose next action is unknown, as in `Dataset.with_next_actions`."""
        return PixelDataset(self.frames.with_next_actions(), self.first, self.frame_stack)

    @property
    def size(self) -> int:
        """The number of transitions."""
        return self.frames.size

    @property
    def starts(self) -> Int[Array, " transitions"]:
        """The states at which a transition starts, ascending."""
        return self.frames.starts

    @property
    def observation_dim(self) -> int:
        """The number of bytes of an observation, a stack of frames."""
        return self.frame_stack * self.frames.observation_dim

    @property
    def action_dim(self) -> int:
        """The number of coordinates of an action."""
        return self.frames.action_dim

    @property
    def reward_range(self) -> tuple[float, float]:
        """The minimum and the maximum reward of a transition."""
        return self.frames.reward_range

    def sample(self, key: Key, batch_size: int) -> Transition:
        """Samples transitions uniformly, with replacement; for use inside `jax.jit` and `jax.lax.scan`."""
        step = self.transition(self.starts[jax.random.randint(key, (batch_size,), 0, self.size)])
        return eqx.tree_at(lambda step: step.next_action, step, None)

    def transition(self, at: Int[Array, "*batch"]) -> Transition:
        """The transitions that start at these states, with the next actions of the data."""
        step = self.frames.transition(at)
        return eqx.tree_at(
            lambda step: (step.observation, step.next_observation), step, (self.stacks(at), self.stacks(at + 1))
        )

    def later(self, at: Int[Array, "*batch"], steps: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """The indices of the states `steps` steps after `at` in the same episodes."""
        return self.frames.later(at, steps)

    def steps_left(self, at: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """For each state, the number of transitions in its episode after the one that starts there."""
        return self.frames.steps_left(at)

    def stacks(self, at: Int[Array, "*batch"]) -> UInt8[Array, "*batch bytes"]:
        """The observations of these states, stacks of frames."""
        back = jnp.arange(self.frame_stack - 1, -1, -1, dtype=at.dtype)
        rows = jnp.maximum(jnp.expand_dims(at, -1) - jnp.expand_dims(back, range(at.ndim)), self.first[at][..., None])
        return self.frames.observations[rows].reshape(*at.shape, -1)

    def fingerprint(self) -> str:
        """The fingerprint of the dataset of single frames; see `Dataset.fingerprint`."""
        return self.frames.fingerprint()


def flat_frames(observations: np.ndarray) -> np.ndarray:
    """Flattens each frame of an array `(states, height, width, channels)` to a row; the data are not copied."""
    return observations.reshape(len(observations), math.prod(observations.shape[1:]))
