"""One environment that plays numbered episodes, each the same whenever and beside whatever it is played."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from numpy.random.mtrand import get_bit_generator, set_bit_generator


class EpisodePlayer:
    """Plays one episode after another in an environment, and sums up what happens.

    Episode i of a seed has its own randomness: the seed given to `reset`, the action space's, and
    NumPy's global state, from which OGBench's mazes draw their starts, goals and teleports.

    - `environment`: A Gymnasium environment that reports `info["success"]`.
    """

    def __init__(self, environment: Any):
        self.environment = environment
        # Kept, since some environments make a new space each time they are asked.
        self.action_space = environment.action_space
        self.episode = -1
        self.length = 0
        self.episode_return = 0.0
        self.success = 0.0
        self.observation = np.zeros(0)
        self._global = np.random.MT19937(0)

    def begin(self, episode: int, seed: int) -> None:
        """Resets the environment to the start of an episode."""
        entropy = np.random.SeedSequence([seed, episode])
        reset_seed, space_seed = (int(word) for word in entropy.generate_state(2))
        self._global = np.random.MT19937(entropy)
        self.episode, self.length, self.episode_return, self.success = episode, 0, 0.0, 0.0
        self.action_space.seed(space_seed)
        with self._own_randomness():
            observation, _ = self.environment.reset(seed=reset_seed)
        self.observation = _as_float(observation)

    def step(self, action: Float[np.ndarray, " action"]) -> bool:
        """Takes one step; whether the episode is over with it.

        **Raises** `ValueError` if the environment does not say in `info["success"]` whether it succeeded.
        """
        with self._own_randomness():
            observation, reward, terminated, truncated, info = self.environment.step(action)
        if "success" not in info:
            raise ValueError(f"the environment must report `info['success']`; its info has {sorted(info)}.")
        self.observation = _as_float(observation)
        self.length += 1
        self.episode_return += float(reward)
        self.success = float(info["success"])
        return bool(terminated or truncated)

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        # Swapping the generator takes under a microsecond, copying its state fifty.
        others = get_bit_generator()
        set_bit_generator(self._global)
        try:
            yield
        finally:
            set_bit_generator(others)


@contextmanager
def numpy_state_kept() -> Iterator[None]:
    """Leaves NumPy's global state as it was, down to the normal deviate that it may hold back."""
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)


def _as_float(observation: Any) -> Float[np.ndarray, " observation"]:
    return np.asarray(observation, dtype=jax.dtypes.canonicalize_dtype(np.float64))
