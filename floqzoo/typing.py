"""The array vocabulary: one name for each kind of array that the zoo passes around.

Shapes are those of a single example; whoever has a batch adds `jax.vmap`.

| name | shape | meaning |
|---|---|---|
| `Time` | `()` | a flow time in [0, 1]: 0 is noise, 1 is data |
| `Point` | `(dim,)` | a point of the space that a flow transports |
| `Code` | `(...)` | an encoded condition, opaque to everything but its own velocity field |
| `Observation` | `(observation,)` | what the environment shows |
| `Action` | `(action,)` | what the agent does, each coordinate in [-1, 1] |
| `Velocity` | `(Time, Point) -> Point` | a velocity field with its condition filled in |
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
