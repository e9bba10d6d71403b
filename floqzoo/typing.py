"""Type aliases for arrays and velocity fields.

The shapes are for a single example; use `jax.vmap` for a batch.

| name | shape | meaning |
|---|---|---|
| `Time` | `()` | a flow time in [0, 1]: 0 is noise, 1 is data |
| `Point` | `(dim,)` | a point of the space on which a flow acts |
| `Condition` | `(_,)` | a part of the condition of a velocity field, such as an observation |
| `Code` | `(...)` | an encoded condition, used only by its velocity field |
| `Observation` | `(observation,)` | an observation of the environment; of dtype uint8 if it consists of pixels |
| `Action` | `(action,)` | an action of the agent, each coordinate in [-1, 1] |
| `Velocity` | `(Time, Point) -> Point` | a velocity field for a fixed condition |

Every argument that takes a JAX array also takes a NumPy array, because floqzoo annotates arrays with the `Array` of
this module.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray, PyTree, Real


if TYPE_CHECKING:
    from jax import Array as Array  # what methods return, and compute with
else:

    class _IsArray(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, jax.Array | np.ndarray | np.generic)

    class Array(metaclass=_IsArray):
        """A JAX array, a NumPy array, or a NumPy scalar (an array without axes)."""


Scalar = Float[Array, ""]
Time = Float[Array, ""] | float | int
Point = Float[Array, " dim"]
Condition = Real[Array, " _"]
Code = PyTree[Array]
Observation = Real[Array, " observation"]
Action = Float[Array, " action"]
Key = PRNGKeyArray
Velocity = Callable[[Any, Any], Any]
Metrics = PyTree
