"""Datasets of pixel observations that store each frame once."""

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
    r"""A dataset with pixel observations, each of which is a stack of the latest $k$ frames.

    The observation of state $i$ consists of the frames $i - k + 1, \dots, i$ of its episode, oldest first. Frames
    before the start of the episode are replaced by copies of its first frame. Each frame is stored once, as uint8, and
    stacks are assembled when they are read. With $k = 3$, this takes a sixth of the memory that the stacked
    observations and next observations of all transitions would take in uint8, and 1/24 of what they would take in
    float32.

    - `frames`: The dataset of single frames. Its `observations` are uint8, with one flattened frame per state.
    - `first`: For each state, the index of the first state of its episode, as computed by `PixelDataset.of`.
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
        """Creates a dataset whose observations are stacks of the frames in `frames`.

        **Raises** `ValueError` if `frame_stack` is below 1, or if the observations of `frames` are not uint8.
        """
        if frames.observations.dtype != np.uint8:
            raise ValueError(f"`frames` must have observations of bytes (uint8); got {frames.observations.dtype}.")
        ends, episode = np.unique(np.asarray(frames.last), return_inverse=True)
        first = np.concatenate([[0], ends[:-1] + 1])[episode]
        return PixelDataset(frames, jnp.asarray(first.astype(np.int32)), frame_stack)

    def with_next_actions(self) -> "PixelDataset":
        """Returns the dataset without the transitions whose next action is unknown; see `Dataset.with_next_actions`."""
        return PixelDataset(self.frames.with_next_actions(), self.first, self.frame_stack)

    @property
    def size(self) -> int:
        """The number of transitions."""
        return self.frames.size

    @property
    def starts(self) -> Int[Array, " transitions"]:
        """The indices of the states at which a transition starts, in ascending order."""
        return self.frames.starts

    @property
    def observation_dim(self) -> int:
        """The number of bytes in an observation, which is a stack of frames."""
        return self.frame_stack * self.frames.observation_dim

    @property
    def action_dim(self) -> int:
        """The number of coordinates of an action."""
        return self.frames.action_dim

    @property
    def reward_range(self) -> tuple[float, float]:
        """The minimum and the maximum reward over all transitions."""
        return self.frames.reward_range

    def sample(self, key: Key, batch_size: int) -> Transition:
        """Samples transitions uniformly, with replacement. Can be called inside `jax.jit` and `jax.lax.scan`."""
        step = self.transition(self.starts[jax.random.randint(key, (batch_size,), 0, self.size)])
        return eqx.tree_at(lambda step: step.next_action, step, None)

    def transition(self, at: Int[Array, "*batch"]) -> Transition:
        """Returns the transitions that start at the states with indices `at`, with the next actions in the data."""
        step = self.frames.transition(at)
        return eqx.tree_at(
            lambda step: (step.observation, step.next_observation), step, (self.stacks(at), self.stacks(at + 1))
        )

    def later(self, at: Int[Array, "*batch"], steps: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """Returns the indices of the states that come `steps` steps after the states `at` in the same episodes."""
        return self.frames.later(at, steps)

    def steps_left(self, at: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """Returns, for the transition that starts at each state, the number of later transitions in its episode."""
        return self.frames.steps_left(at)

    def stacks(self, at: Int[Array, "*batch"]) -> UInt8[Array, "*batch bytes"]:
        """Assembles the observations of the states with indices `at`, which are stacks of frames."""
        back = jnp.arange(self.frame_stack - 1, -1, -1, dtype=at.dtype)
        rows = jnp.maximum(jnp.expand_dims(at, -1) - jnp.expand_dims(back, range(at.ndim)), self.first[at][..., None])
        return self.frames.observations[rows].reshape(*at.shape, -1)

    def fingerprint(self) -> str:
        """Returns the fingerprint of the dataset of single frames; see `Dataset.fingerprint`."""
        return self.frames.fingerprint()


def flat_frames(observations: np.ndarray) -> np.ndarray:
    """Flattens each frame of an array `(states, height, width, channels)` into a row, without copying the data."""
    return observations.reshape(len(observations), math.prod(observations.shape[1:]))
