"""Many updates of an agent in one compiled call."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from floqzoo.training.leaves import named_leaves, own_arrays, split_arrays
from floqzoo.typing import Key


class ChunkMetrics(eqx.Module):
    """What a chunk of updates reports, each metric under its field path, such as `critic/q_mean`.

    - `mean`: The metric's mean over the updates of the chunk; one NaN among them makes it NaN.
    - `first_non_finite`: How many updates went well before the metric was NaN or infinite; the number
      of updates where it never was.
    """

    mean: dict[str, Float[Array, ""]]
    first_non_finite: dict[str, Int[Array, ""]]


class ScannedUpdate:
    """`updates` updates of an agent as one call: sampling, losses, optimiser and targets stay on the device.

    Update number `step` draws its batch and its noise from `fold_in(key, step)` alone, so a run is the same
    however it is cut into calls. The arrays that go in are donated: only those that come out may be used
    again. The dataset is an argument, not a constant of the program.

    - `agent`: Has `update(batch, key) -> (agent, metrics)`, pure. Its arrays are what changes; all else is fixed.
    - `batch_size`: Transitions drawn for each update.
    - `updates`: Updates in a call.

    **Raises** `ValueError` if `batch_size` or `updates` is not positive.
    """

    def __init__(self, agent: PyTree, batch_size: int, updates: int):
        for name, number in (("batch_size", batch_size), ("updates", updates)):
            if number < 1:
                raise ValueError(f"`{name}` must be at least 1; got {number}.")
        self.batch_size = batch_size
        self.updates = updates
        _, self._rest = split_arrays(agent)
        self._jitted = jax.jit(self._scan, donate_argnums=0)
        self._compiled: Callable[..., tuple[PyTree, ChunkMetrics]] | None = None

    def arrays(self, agent: PyTree) -> PyTree:
        """The agent's arrays, copied, ready to be donated."""
        return own_arrays(split_arrays(agent)[0])

    def agent(self, arrays: PyTree) -> PyTree:
        """The agent that has these arrays."""
        return eqx.combine(arrays, self._rest)

    def compile(self, arrays: PyTree, dataset: PyTree, key: Key, first_step: int) -> None:
        """Compiles for arguments of these shapes, so that the first call is as fast as the next."""
        self._compiled = self._jitted.lower(arrays, dataset, key, first_step).compile()

    def __call__(self, arrays: PyTree, dataset: PyTree, key: Key, first_step: int) -> tuple[PyTree, ChunkMetrics]:
        """Runs updates `first_step` to `first_step + updates - 1`, starting from 0."""
        return (self._compiled or self._jitted)(arrays, dataset, key, first_step)

    def _scan(
        self, arrays: PyTree, dataset: PyTree, key: Key, first_step: Int[Array, ""]
    ) -> tuple[PyTree, ChunkMetrics]:
        def update(arrays: PyTree, step: Int[Array, ""]) -> tuple[PyTree, dict[str, Array]]:
            batch_key, update_key = jax.random.split(jax.random.fold_in(key, step))
            batch = dataset.sample(batch_key, self.batch_size)
            agent, metrics = self.agent(arrays).update(batch, update_key)
            return split_arrays(agent)[0], named_leaves(metrics, "/")

        arrays, metrics = lax.scan(update, arrays, first_step + jnp.arange(self.updates))
        return arrays, ChunkMetrics(
            mean={name: jnp.mean(values) for name, values in metrics.items()},
            first_non_finite={name: _first_non_finite(values) for name, values in metrics.items()},
        )


def _first_non_finite(values: Float[Array, " updates"]) -> Int[Array, ""]:
    bad = ~jnp.isfinite(values)
    return jnp.where(jnp.any(bad), jnp.argmax(bad), values.size)
