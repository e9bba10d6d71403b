"""A compiled function that performs many updates of the agents of many seeds in one call."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Bool, Float, Int, Key, PyTree

from floqzoo.learner.batch_sources import UniformBatches
from floqzoo.learner.devices import BATCH, SEEDS, local, one_device, placed
from floqzoo.learner.pytree_utils import split_arrays
from floqzoo.protocols import BatchSource
from floqzoo.records import NamedMetric, named_metrics
from floqzoo.scopes import update_step
from floqzoo.typing import Array
from floqzoo.update_rules import copied


OPTIONS = {
    # The CPU library computes products only, without fused element-wise operations. With the default of jaxlib 0.10 it
    # computes both, and the constants of an activation are then written as arrays of the size of a layer, in each step
    # of an integration.
    "cpu": {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"},
    # Independent kernels run concurrently: 587 instead of 548 updates per second for floq on one H200.
    "gpu": {"xla_gpu_command_buffer_scheduling_mode": "CONCURRENT"},
}
"""Compiler options for each kind of device."""


@functools.cache
def compiler_options() -> dict[str, str]:
    """Returns `jax.jit` options that make programs faster on the current kind of device without changing results.

    The dictionary is empty if XLA does not know one of the options.
    """
    options = OPTIONS.get(jax.default_backend(), {})
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options


class ChunkMetrics(eqx.Module):
    """The metrics of each seed over the updates of one call of `ScannedUpdate`.

    Keys of the dictionaries are the names of the metrics, such as `critic/q_mean`.

    - `mean`: The mean over the updates in which the metric occurred; NaN if any value is NaN.
    - `count`: For `Occasional` metrics, the number of updates in which the metric occurred; if it is 0, so is the mean.
    - `first_non_finite`: The number of updates before the metric first became NaN or infinite. If all values are
      finite, it is the total number of updates.
    """

    mean: dict[str, Float[Array, " seeds"]]
    count: dict[str, Int[Array, " seeds"]]
    first_non_finite: dict[str, Int[Array, " seeds"]]


class ScannedUpdate:
    """A compiled function that performs `updates` updates of the agents of all seeds in one call.

    Sampling, losses, optimisers and target networks are all computed on the device. Seeds are the leading axis of the
    keys and of every array of the agents. The batch and the noise samples of update `step` of a seed, counted from 0,
    are drawn from `fold_in(key, step)`, so the result does not depend on how a run is divided into calls, or on other
    seeds. The input arrays are donated, so only the returned arrays may be used after a call. The dataset is an
    argument rather than a constant of the program, and is shared by all seeds.

    - `agents`: The agents of all seeds as one tree (see `floqzoo.learner.build_agents`). They must have a pure method
      `update(batch, key) -> (agent, metrics)`, which updates the agent of one seed. Only arrays are updated.
    - `batch_size`: The number of transitions per update of a seed.
    - `updates`: The number of updates in a call.
    - `source`: The batch source, which samples from the dataset and, if it uses one, from the replay buffer of the
      seed.
    - `mesh`: The devices over which the seeds and the batch of each seed are distributed, by default only the first
      device; see `floqzoo.learner.devices`.

    **Raises** `ValueError` if `batch_size` or `updates` is not positive.
    """

    def __init__(
        self,
        agents: PyTree,
        batch_size: int,
        updates: int,
        *,
        source: BatchSource = UniformBatches(),
        mesh: Mesh | None = None,
    ):
        for name, number in (("batch_size", batch_size), ("updates", updates)):
            if number < 1:
                raise ValueError(f"`{name}` must be at least 1; got {number}.")
        self.batch_size = batch_size
        self.updates = updates
        self._source = source
        _, self._rest = split_arrays(agents)
        self._mesh = one_device() if mesh is None else mesh
        self._jitted = self._over_devices(self._scan)
        self._compiled: jax.stages.Compiled | None = None

    def arrays(self, agents: PyTree) -> PyTree:
        """Returns a copy of the agents' arrays, which can be passed to a call and donated."""
        return self.spread(copied(split_arrays(agents)[0]))

    def spread(self, tree: PyTree) -> PyTree:
        """Distributes arrays over the devices along their first axis, the seeds.

        Keys and replay buffers must be distributed in this way before they are passed to a call.
        """
        return placed(tree, self.by_seed)

    def everywhere(self, tree: PyTree) -> PyTree:
        """Replicates arrays on every device. The dataset must be replicated before it is passed to a call."""
        return placed(tree, self._same)

    def gathered(self, tree: PyTree) -> PyTree:
        """Gathers distributed arrays on the first device of this process; all processes must call this method."""
        if jax.process_count() > 1:
            return local(jax.jit(_itself, out_shardings=self._same)(tree))
        return jax.device_put(tree, jax.devices()[0])

    def agents(self, arrays: PyTree) -> PyTree:
        """Returns the agents whose arrays are `arrays`."""
        return eqx.combine(arrays, self._rest)

    def compile(
        self,
        arrays: PyTree,
        dataset: PyTree,
        keys: Key[Array, " seeds"] | jax.ShapeDtypeStruct,
        first_step: int,
        replay: PyTree = None,
    ) -> jax.stages.Compiled:
        """Compiles the function for arguments of these shapes, and returns the compiled program.

        The first call is then as fast as later calls. In place of arrays, `jax.ShapeDtypeStruct`s can be passed.
        """
        self._compiled = self._jitted.lower(arrays, dataset, keys, first_step, replay).compile()
        return self._compiled

    def __call__(
        self, arrays: PyTree, dataset: PyTree, keys: Key[Array, " seeds"], first_step: int, replay: PyTree = None
    ) -> tuple[PyTree, ChunkMetrics]:
        """Performs updates `first_step` to `first_step + updates - 1` of each seed, counted from 0.

        - `replay`: The replay buffers; the first axis of each array indexes the seeds.

        Returns the updated arrays of the agents, and the metrics.
        """
        return (self._compiled or self._jitted)(arrays, dataset, keys, first_step, replay)

    @property
    def by_seed(self) -> NamedSharding:
        """The sharding of arrays whose first axis indexes the seeds."""
        return NamedSharding(self._mesh, PartitionSpec(SEEDS))

    @property
    def _same(self) -> NamedSharding:
        return NamedSharding(self._mesh, PartitionSpec())

    def _over_devices(self, scan: Callable) -> jax.stages.Wrapped:
        if self._mesh.size == 1:
            return jax.jit(scan, donate_argnums=0, compiler_options=compiler_options())
        seeds, same = PartitionSpec(SEEDS), PartitionSpec()
        # Seeds are distributed by shard_map, batches by the compiler. The loops of an update start from constants,
        # which are the same on all devices, so the check of varying values is disabled.
        shared = jax.shard_map(
            scan,
            mesh=self._mesh,
            in_specs=(seeds, same, seeds, same, seeds),
            out_specs=seeds,
            axis_names={SEEDS},
            check_vma=False,
        )
        # Every process reads the metrics of all seeds.
        metrics = self.by_seed if jax.process_count() == 1 else self._same
        return jax.jit(
            shared,
            donate_argnums=0,
            out_shardings=(self.by_seed, metrics),
            compiler_options=compiler_options(),
        )

    def _shared(self, batch: PyTree) -> PyTree:
        """Distributes a batch over the devices that share the same seeds; the compiler infers all other shardings."""
        if self._mesh.shape[BATCH] == 1:
            return batch
        return lax.with_sharding_constraint(batch, PartitionSpec(BATCH))

    def _scan(
        self, arrays: PyTree, dataset: PyTree, keys: Key[Array, " seeds"], first_step: Int[Array, ""], replay: PyTree
    ) -> tuple[PyTree, ChunkMetrics]:
        def update(arrays: PyTree, key: Key[Array, ""], place: Int[Array, ""], step: Int[Array, ""]):
            batch_key, update_key = jax.random.split(jax.random.fold_in(key, step))
            with update_step("sampling"):
                batch = self._shared(self._source.draw_batch(dataset, replay, place, batch_key, self.batch_size))
            agent, metrics = self.agents(arrays).update(batch, update_key)
            return split_arrays(agent)[0], MetricRow.of(named_metrics(metrics))

        def scan(arrays: PyTree, key: Key[Array, ""], place: Int[Array, ""]) -> tuple[PyTree, MetricRow]:
            if self.updates == 1:  # no loop: in one, gradients of convolutions take 14 times as long on a CPU
                arrays, row = update(arrays, key, place, steps[0])
                return arrays, jax.tree.map(lambda metrics: metrics[None], row)
            return lax.scan(lambda arrays, step: update(arrays, key, place, step), arrays, steps)

        steps = first_step + jnp.arange(self.updates)
        # The replay of a seed is indexed by `place`: slicing it out would copy it in every call.
        arrays, rows = over_seeds(scan)(arrays, keys, jnp.arange(len(keys)))
        metrics = rows.named()
        occasional = {name: happened for name, (_, happened) in metrics.items() if happened is not None}
        return arrays, ChunkMetrics(
            mean={name: _mean(*values) for name, values in metrics.items()},
            count={name: jnp.sum(happened, axis=1) for name, happened in occasional.items()},
            first_non_finite={name: _first_non_finite(values) for name, (values, _) in metrics.items()},
        )


class MetricRow(eqx.Module):
    """The metrics of one update in two arrays, because a loop needs one kernel for each array that it returns.

    - `values`: The value of each metric, in the order of `names`.
    - `happened`: For each `Occasional` metric, in the order of `occasional`, whether it occurred in the update.
    """

    values: Float[Array, "*axes metrics"]
    happened: Bool[Array, "*axes occasional"]
    names: tuple[str, ...] = eqx.field(static=True)
    occasional: tuple[str, ...] = eqx.field(static=True)

    @staticmethod
    def of(metrics: dict[str, NamedMetric]) -> "MetricRow":
        """Packs the metrics of one update."""
        happened = {name: metric.happened for name, metric in metrics.items() if metric.happened is not None}
        values = jnp.array([jnp.asarray(metric.value, float) for metric in metrics.values()])
        return MetricRow(values, jnp.array(list(happened.values()), bool), tuple(metrics), tuple(happened))

    def named(self) -> dict[str, NamedMetric]:
        """Unpacks the metrics; any leading axes stay in front."""
        happened = {name: self.happened[..., at] for at, name in enumerate(self.occasional)}
        return {name: NamedMetric(self.values[..., at], happened.get(name)) for at, name in enumerate(self.names)}


def _mean(values: Float[Array, "seeds updates"], happened: Array | None) -> Float[Array, " seeds"]:
    if happened is None:
        return jnp.mean(values, axis=1)
    return jnp.sum(jnp.where(happened, values, 0), axis=1) / jnp.maximum(jnp.sum(happened, axis=1), 1).astype(
        values.dtype
    )


def _itself(tree: PyTree) -> PyTree:
    return tree


def over_seeds(function: Callable) -> Callable:
    """Maps a function over seeds: by `jax.vmap` on accelerators, a loop on CPUs, or a plain call for a single seed.

    On a CPU, matrix products that are batched over seeds are slower than separate products: floq makes 2.8 seed-updates
    per second with four batched seeds, and 4.4 with one seed. For a single seed, even a batch axis of length 1 would
    cost 10 %.
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
