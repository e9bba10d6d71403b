"""Hypothesis strategies for the examples on which laws are checked: times, points, conditions and keys."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from jaxtyping import Float

from floqzoo.records import Transition
from floqzoo.typing import Action, Array, Key, Observation, Point, Scalar


@dataclass(frozen=True)
class Sizes:
    """The input sizes of a part under test; they matter only for parts with fixed input sizes, such as networks.

    - `point`: The number of coordinates of a point of a velocity field.
    - `condition`: The sizes of the arrays that form a velocity field's condition, in the order in which `encode` takes
      them.
    - `inputs`: The number of inputs of a network or of a layer, at least 2; also the dimension of a task's latent z.
    - `observation`, `action`: The number of coordinates of an observation and of an action.
    """

    point: int = 2
    condition: tuple[int, ...] = (3, 2)
    inputs: int = 5
    observation: int = 3
    action: int = 2


@dataclass(frozen=True)
class Example:
    """An example on which a law is checked.

    - `t`, `s`: Two different times in (0, 1).
    - `x0`, `x1`: Two points.
    - `condition`: The condition of a velocity field.
    - `inputs`: The input of a network; also the latent z of a task.
    - `observation`, `action`: The inputs of a critic or policy.
    - `seed`: The seed of `key` and `batch`.
    """

    t: Scalar
    s: Scalar
    x0: Point
    x1: Point
    condition: tuple[Float[Array, " _"], ...]
    inputs: Float[Array, " inputs"]
    observation: Observation
    action: Action
    seed: int

    def __repr__(self) -> str:
        """Formats all arrays as plain lists."""
        plain = {name: jax.tree.map(lambda x: np.asarray(x).tolist(), value) for name, value in vars(self).items()}
        return f"Example({', '.join(f'{name}={value}' for name, value in plain.items())})"

    @property
    def key(self) -> Key:
        """The random key with the seed `seed`.

        Each access creates a new key array, so that JAX does not report a reuse of the key.
        """
        return jax.random.key(self.seed)

    @property
    def batch(self) -> Transition:
        """Four transitions with next actions and futures; the last one terminates its episode."""
        draw = np.random.default_rng(self.seed)

        def states() -> Float[Array, "batch observation"]:
            return floating(draw.normal(size=(4, self.observation.size)))

        def actions() -> Float[Array, "batch action"]:
            return floating(draw.uniform(-1, 1, (4, self.action.size)))

        return Transition(
            observation=states(),
            action=actions(),
            reward=floating(draw.uniform(-1, 1, 4)),
            discount=floating(np.array([1.0, 1.0, 1.0, 0.0])),
            next_observation=states(),
            next_action=actions(),
            future=states(),
        )


@contextmanager
def leave_random_alone() -> Iterator[None]:
    """Restores the state of Python's random number generator on exit.

    This is needed because shape checks draw from the generator, which Hypothesis does not allow.
    """
    state = random.getstate()
    yield
    random.setstate(state)


def sixteenths(low: int, high: int) -> st.SearchStrategy[float]:
    """A strategy for multiples of 1/16 from `low` to `high`, which are easy to read and exact in every dtype."""
    return st.integers(16 * low, 16 * high).map(lambda numerator: numerator / 16)


def examples(sizes: Sizes) -> st.SearchStrategy[Example]:
    """A Hypothesis strategy for examples of the given sizes.

    Coordinates of actions lie in [-1, 1], and all other coordinates in [-2, 2]. The same drawn numbers are used for the
    condition, for the inputs, and for the observation and action.
    """
    count = 2 * sizes.point + max(sum(sizes.condition), sizes.inputs, sizes.observation + sizes.action)

    @leave_random_alone()
    def example(t: int, step: int, numbers: tuple[float, ...], seed: int) -> Example:
        points, rest = np.split(np.asarray(numbers), [2 * sizes.point])
        ends = np.cumsum((0, *sizes.condition))
        return Example(
            t=floating(t / 32),
            s=floating(((t + step - 1) % 31 + 1) / 32),
            x0=floating(points[: sizes.point]),
            x1=floating(points[sizes.point :]),
            condition=tuple(floating(rest[start:end]) for start, end in pairwise(ends)),
            inputs=floating(rest[: sizes.inputs]),
            observation=floating(rest[: sizes.observation]),
            action=floating(rest[sizes.observation : sizes.observation + sizes.action] / 2),
            seed=seed,
        )

    numbers = st.tuples(*[sixteenths(-2, 2)] * count)
    return st.builds(example, st.integers(1, 31), st.integers(1, 30), numbers, st.integers(0, 9999))


def magnitudes(dtype: Any) -> tuple[float, ...]:
    """Returns numbers of widely different magnitudes: 0, and from the dtype's smallest normal number to its largest."""
    limits = jnp.finfo(dtype)
    return 0.0, float(limits.tiny), 1e-20, 1e-10, 1.0, 30.0, 1e3, 1e6, 1e10, 1e19, 1e30, float(limits.max)


def floating(numbers: float | np.ndarray) -> Float[Array, "..."]:
    """Converts numbers to an array in JAX's default floating dtype."""
    return jnp.asarray(np.asarray(numbers, dtype=jax.dtypes.canonicalize_dtype(float)))
