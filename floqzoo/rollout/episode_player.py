"""Plays episodes in an environment such that each is independent of the episodes played before it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Real
from numpy.random.mtrand import get_bit_generator, set_bit_generator


@dataclass(frozen=True)
class StepOutcome:
    """The outcome of one step of an environment.

    - `observation`: The next observation.
    - `reward`: The reward of the step.
    - `terminated`, `truncated`: Whether the episode was terminated or truncated by this step, as in Gymnasium.
    - `success`: 1 if the environment reported success in this step, else 0; NaN if the task does not report success.
    """

    observation: Real[np.ndarray, " observation"]
    reward: float
    terminated: bool
    truncated: bool
    success: float

    @property
    def over(self) -> bool:
        """Whether this step ended the episode."""
        return self.terminated or self.truncated


class EnvironmentFailedError(RuntimeError):
    """Raised in place of an `OSError` that an environment raises.

    It is a separate type because the trainer attributes any `OSError` to the files of the run.
    """


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class EpisodePlayer:
    """Plays one episode after another in an environment.

    Each episode has its own random numbers, which depend only on its seed and its index. They determine the seed that
    is passed to `reset`, the seed of the action space, and NumPy's global state, from which OGBench's mazes draw
    starts, goals and teleports.

    Requesting a step and receiving its outcome are separate calls, as in `EnvironmentWorker`, which has the same
    interface.

    - `environment`: A Gymnasium environment that reports `info["success"]`.
    - `dtype`: The dtype to which observations are converted, by default `observation_dtype()`. Pixels (uint8) are not
      converted.
    """

    def __init__(self, environment: Any, dtype: np.dtype | None = None):
        self.environment = environment
        # Stored, since some environments create a new space on each access.
        self.action_space = environment.action_space
        self._shape = environment.observation_space.shape
        self._dtype = observation_dtype() if dtype is None else dtype
        self._observation = np.zeros(0)
        self._outcome: StepOutcome | None = None
        self._global = np.random.MT19937(0)
        self._steps = 0

    @staticmethod
    def of(make_environment: Callable[[], Any], dtype: np.dtype | None = None) -> "EpisodePlayer":
        """Creates an environment by calling `make_environment`, and returns a player for it.

        **Raises** `EnvironmentFailedError` if the environment raises an `OSError`; so do `begin` and `step`.
        """
        try:
            return EpisodePlayer(make_environment(), dtype)
        except OSError as error:
            raise EnvironmentFailedError(f"an environment cannot be made: {_described(error)}") from error

    def begin(self, episode: int, seed: int) -> None:
        """Resets the environment to the start of an episode.

        **Raises** `ValueError` if the observation is not finite, or has a different shape from the `observation_space`.
        """
        entropy = np.random.SeedSequence([seed, episode])
        reset_seed, space_seed = (int(word) for word in entropy.generate_state(2))
        self._global = np.random.MT19937(entropy)
        self.action_space.seed(space_seed)
        with self._own_randomness():
            observation, _ = self.environment.reset(seed=reset_seed)
        self._steps = 0
        self._observation = self._observed(observation)

    def receive_start(self) -> Real[np.ndarray, " observation"]:
        """Returns the first observation of the episode."""
        return self._observation

    def step(self, action: Float[np.ndarray, " action"]) -> None:
        """Takes one step in the environment.

        **Raises** `ValueError` if the environment does not report `info["success"]`, if its observation or reward is
        not finite, or if its observation has a different shape from the `observation_space`.
        """
        with self._own_randomness():
            observation, reward, terminated, truncated, info = self.environment.step(action)
        if "success" not in info:
            raise ValueError(
                f"the environment must report `info['success']`; its info has {sorted(info)}. For an environment that does "
                "not report success, use a floqzoo.tasks.GymnasiumTask."
            )
        self._steps += 1
        self._outcome = StepOutcome(
            self._observed(observation),
            float(self._numbers("reward", reward)),
            bool(terminated),
            bool(truncated),
            float(info["success"]),
        )

    def receive_step(self) -> StepOutcome:
        """Returns the outcome of the latest step.

        **Raises** `RuntimeError` if no step has been taken.
        """
        if self._outcome is None:
            raise RuntimeError("`step` must be called before `receive_step`.")
        return self._outcome

    def close(self) -> None:
        """Closes the environment."""
        self.environment.close()

    def _observed(self, value: Any) -> np.ndarray:
        observation = self._numbers("observation", value)
        if observation.shape != self._shape:
            raise ValueError(
                f"the observation of the environment {self._name} must have the shape {self._shape} of its "
                f"`observation_space`; it has the shape {observation.shape} in step {self._steps}."
            )
        return observation

    def _numbers(self, what: str, value: Any) -> np.ndarray:
        if what == "observation" and getattr(value, "dtype", None) == np.uint8:
            return np.asarray(value)
        array = np.asarray(value, self._dtype if what == "observation" else np.float64)
        if not np.isfinite(array).all():
            raise ValueError(
                f"the {what} of the environment {self._name} is not finite in step {self._steps}: {array}."
            )
        return array

    @property
    def _name(self) -> str:
        return self.environment.spec.id if self.environment.spec else type(self.environment.unwrapped).__name__

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        # Swapping the generator takes under a microsecond, copying its state fifty.
        others = get_bit_generator()
        set_bit_generator(self._global)
        try:
            yield
        except OSError as error:
            raise EnvironmentFailedError(f"the environment {self._name} raised {_described(error)}") from error
        finally:
            set_bit_generator(others)


@contextmanager
def numpy_state_kept() -> Iterator[None]:
    """A context manager that restores NumPy's global random state on exit, including a cached normal deviate."""
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)


def observation_dtype() -> np.dtype:
    """Returns the dtype of observations: float64 if 64-bit types are enabled in JAX, else float32."""
    return jax.dtypes.canonicalize_dtype(np.float64)
