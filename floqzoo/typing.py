"""Type aliases of arrays.

Shapes are those of a single example; use `jax.vmap` for a batch.

| name | shape | meaning |
|---|---|---|
| `Time` | `()` | a flow time in [0, 1]: 0 is noise, 1 is data |
| `Point` | `(dim,)` | a point of the space that a flow transports |
| `Condition` | `(_,)` | a part of the condition of a velocity field, such as an observation |
| `Code` | `(...)` | an encoded condition, used only by its velocity field |
| `Observation` | `(observation,)` | an observation of the environment; bytes (uint8) if it is pixels |
| `Action` | `(action,)` | an action of the agent, each coordinate in [-1, 1] |
| `Velocity` | `(Time, Point) -> Point` | a velocity field for a fixed condition |

Arrays of NumPy are accepted as those of JAX.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Real


if TYPE_CHECKING:
    Numbers = Array  # what methods return, and compute with
else:
    Numbers = Array | np.ndarray

Scalar = Float[Numbers, ""]
Time = Float[Numbers, ""] | float | int
Point = Float[Numbers, " dim"]
Condition = Real[Numbers, " _"]
Code = PyTree[Numbers]
Observation = Real[Numbers, " observation"]
Action = Float[Numbers, " action"]
Key = PRNGKeyArray
Velocity = Callable[[Any, Any], Any]
Metrics = PyTree
