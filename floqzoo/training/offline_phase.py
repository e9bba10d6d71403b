"""The part of a run that learns from data alone."""

from collections.abc import Mapping
from typing import Any

from jax.sharding import Mesh
from jaxtyping import Array, Key, PyTree

from floqzoo.training.call_length import updates_in_a_call
from floqzoo.training.configuration import RunConfig
from floqzoo.training.scanned_update import ChunkMetrics, ScannedUpdate


class OfflinePhase:
    """Updates on the dataset; a step of the run is an update.

    - `config`: How many updates, and how often something is due.
    - `step`: Where the run begins or goes on.
    - `agents`: As `floqzoo.training.build_agents` makes them.
    - `dataset`: Has `sample`.
    - `mesh`: The devices.
    """

    def __init__(self, config: RunConfig, step: int, agents: PyTree, dataset: Any, mesh: Mesh):
        self.update = ScannedUpdate(agents, config.agent.batch_size, updates_in_a_call(config, step), mesh=mesh)
        self.dataset = self.update.everywhere(dataset)
        self.steps = self.update.updates

    def compile(self, arrays: PyTree, keys: Key[Array, " seeds"]) -> None:
        """Compiles the update."""
        self.update.compile(arrays, self.dataset, keys, 0)

    def begin(self, state: Mapping[str, Any] | None) -> None:
        """There is nothing to begin with."""

    def updates_until(self, step: int) -> int:
        """How many updates of each seed the run has made when `step` is reached."""
        return step

    def advance(self, arrays: PyTree, keys: Key[Array, " seeds"], step: int) -> tuple[PyTree, list[ChunkMetrics]]:
        """The updates of the next `steps` steps, of which the first is number `step`."""
        arrays, metrics = self.update(arrays, self.dataset, keys, step)
        return arrays, [metrics]
