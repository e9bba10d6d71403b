"""Type aliases of arrays.

Shapes are those of a single example; use `jax.vmap` for a batch.

| name | shape | meaning |
|---|---|---|
| `Time` | `()` | a flow time in [0, 1]: 0 is noise, 1 is data |
| `Point` | `(dim,)` | a point of the space that a flow transports |
| `Code` | `(...)` | an encoded condition, used only by its velocity field |
| `Observation` | `(observation,)` | an observation of the environment |
| `Action` | `(action,)` | an action of the agent, each coordinate in [-1, 1] |
| `Velocity` | `(Time, Point) -> Point` | a velocity field for a fixed condition |
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float, PRNGKeyArray, PyTree


Scalar = Float[Array, ""]
Time = Float[Array, ""] | float | int
Point = Float[Array, " dim"]
Code = PyTree[Array]
Observation = Float[Array, " observation"]
Action = Float[Array, " action"]
Key = PRNGKeyArray
Velocity = Callable[[Any, Any], Any]
Metrics = PyTree
