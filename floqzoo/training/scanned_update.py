"""Many updates of many seeds' agents in one compiled call."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key, PyTree

from floqzoo.training.leaves import named_leaves, own_arrays, split_arrays


class ChunkMetrics(eqx.Module):
    """What a chunk of updates reports for each seed, each metric under its field path, such as `critic/q_mean`.

    - `mean`: The metric's mean over the updates of the chunk; one NaN among them makes it NaN.
    - `first_non_finite`: How many updates went well before the metric was NaN or infinite; the number
      of updates where it never was.
    """

    mean: dict[str, Float[Array, " seeds"]]
    first_non_finite: dict[str, Int[Array, " seeds"]]


class ScannedUpdate:
    """`updates` updates of the agents of some seeds as one call: sampling, losses, optimiser and targets stay on the
    device.

    Seeds are a leading axis of every array of an agent, and of the keys. Update number `step` of a seed draws its batch
    and its noise from `fold_in(key, step)` alone, so a run is the same however it is cut into calls, and whatever other
    seeds are trained beside it. The arrays that go in are donated: only those that come out may be used again. The
    dataset is an argument, not a constant of the program, and one for all seeds.

    - `agents`: Has `update(batch, key) -> (agent, metrics)`, pure, for one seed. Its arrays, each with the seeds as its
      first axis (see `floqzoo.training.build_agents`), are what changes; all else is fixed.
    - `batch_size`: Transitions drawn for each update of a seed.
    - `updates`: Updates in a call.
    - `devices`: Share the seeds evenly, without a word between them; see `devices_for`.

    **Raises** `ValueError` if `batch_size` or `updates` is not positive.
    """

    def __init__(self, agents: PyTree, batch_size: int, updates: int, *, devices: Sequence[Any] | None = None):
        for name, number in (("batch_size", batch_size), ("updates", updates)):
            if number < 1:
                raise ValueError(f"`{name}` must be at least 1; got {number}.")
        self.batch_size = batch_size
        self.updates = updates
        _, self._rest = split_arrays(agents)
        self._mesh = Mesh(np.array(devices or jax.devices()[:1]), ("seeds",))
        self._jitted = jax.jit(self._over_devices(self._scan), donate_argnums=0)
        self._compiled: jax.stages.Compiled | None = None

    def arrays(self, agents: PyTree) -> PyTree:
        """The agents' arrays, copied, ready to be donated."""
        return self.spread(own_arrays(split_arrays(agents)[0]))

    def spread(self, tree: PyTree) -> PyTree:
        """Puts the seeds of every array on their devices; keys must be there, too."""
        return jax.device_put(tree, NamedSharding(self._mesh, PartitionSpec("seeds")))

    def everywhere(self, tree: PyTree) -> PyTree:
        """Puts the same arrays on every device, as the dataset must be."""
        return jax.device_put(tree, NamedSharding(self._mesh, PartitionSpec()))

    def agents(self, arrays: PyTree) -> PyTree:
        """The agents that have these arrays."""
        return eqx.combine(arrays, self._rest)

    def compile(
        self, arrays: PyTree, dataset: PyTree, keys: Key[Array, " seeds"], first_step: int
    ) -> jax.stages.Compiled:
        """Compiles for arguments of these shapes, so that the first call is as fast as the next; gives the program."""
        self._compiled = self._jitted.lower(arrays, dataset, keys, first_step).compile()
        return self._compiled

    def __call__(
        self, arrays: PyTree, dataset: PyTree, keys: Key[Array, " seeds"], first_step: int
    ) -> tuple[PyTree, ChunkMetrics]:
        """Runs updates `first_step` to `first_step + updates - 1` of each seed, starting from 0."""
        return (self._compiled or self._jitted)(arrays, dataset, keys, first_step)

    def _over_devices(self, scan: Callable) -> Callable:
        if self._mesh.size == 1:
            return scan
        seeds, same = PartitionSpec("seeds"), PartitionSpec()
        # An update begins its loops with constants, which are the same everywhere, so what varies is not checked.
        return jax.shard_map(
            scan, mesh=self._mesh, in_specs=(seeds, same, seeds, same), out_specs=seeds, check_vma=False
        )

    def _scan(
        self, arrays: PyTree, dataset: PyTree, keys: Key[Array, " seeds"], first_step: Int[Array, ""]
    ) -> tuple[PyTree, ChunkMetrics]:
        def update(arrays: PyTree, key: Key[Array, ""], step: Int[Array, ""]) -> tuple[PyTree, dict[str, Array]]:
            batch_key, update_key = jax.random.split(jax.random.fold_in(key, step))
            batch = dataset.sample(batch_key, self.batch_size)
            agent, metrics = self.agents(arrays).update(batch, update_key)
            return split_arrays(agent)[0], named_leaves(metrics, "/")

        def scan(arrays: PyTree, key: Key[Array, ""]) -> tuple[PyTree, dict[str, Array]]:
            return lax.scan(lambda arrays, step: update(arrays, key, step), arrays, steps)

        steps = first_step + jnp.arange(self.updates)
        arrays, metrics = over_seeds(scan)(arrays, keys)
        return arrays, ChunkMetrics(
            mean={name: jnp.mean(values, axis=1) for name, values in metrics.items()},
            first_non_finite={name: _first_non_finite(values) for name, values in metrics.items()},
        )


def devices_for(seeds: int) -> list[Any]:
    """As many devices of this machine as can share the seeds evenly."""
    devices = jax.devices()
    return devices[: max(count for count in range(1, len(devices) + 1) if seeds % count == 0)]


def over_seeds(function: Callable) -> Callable:
    """`jax.vmap` on an accelerator; on a CPU one seed after another, and a single seed without the axis.

    On a CPU the products of several seeds at once are slower than those of each: 2.8 seed-updates a second for floq of
    four seeds, where one seed alone makes 4.4. And an axis of length 1 costs 10 %.
    """

    def mapped(*trees):
        if len(jax.tree.leaves(trees)[0]) > 1:
            one_by_one = jax.default_backend() == "cpu"
            return lax.map(lambda tree: function(*tree), trees) if one_by_one else jax.vmap(function)(*trees)
        result = function(*jax.tree.map(lambda leaf: leaf[0], trees))
        return jax.tree.map(lambda leaf: leaf[None], result)

    return mapped


def _first_non_finite(values: Float[Array, "seeds updates"]) -> Int[Array, " seeds"]:
    bad = ~jnp.isfinite(values)
    return jnp.where(jnp.any(bad, axis=1), jnp.argmax(bad, axis=1), values.shape[1])
