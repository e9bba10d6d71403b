"""The two phases of a run: offline updates on a dataset, then environment steps with updates in between."""

import math
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Key, PyTree

from floqzoo.learner.metric_mean import NonFiniteError
from floqzoo.learner.pytree_utils import named_leaves, split_arrays
from floqzoo.learner.scanned_update import ChunkMetrics, ScannedUpdate
from floqzoo.learner.seeds import exploration_keys
from floqzoo.protocols import BatchSource, HasPhases, HasReplay, TrainableAgent
from floqzoo.records import Transition
from floqzoo.rollout.environment_worker import require_picklable
from floqzoo.rollout.exploration import Exploration, Round, first_episodes
from floqzoo.rollout.open_loop import OpenLoop
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.run_store import RunState
from floqzoo.tasks.pixel_dataset import PixelDataset
from floqzoo.tasks.replay_buffer import ExploredStep, ReplayBuffer
from floqzoo.tasks.sharded_dataset import ShardedDataset, excerpt_of
from floqzoo.training.resident_shard import ResidentShard, require_replaceable
from floqzoo.typing import Array


CPU_CALL, ACCELERATOR_CALL = 10, 100
"""The maximum number of updates in one compiled call. It is small on a CPU, so that Ctrl-C and the progress bar respond
quickly, and large on an accelerator, so that the overhead of Python is negligible."""


def call_limit() -> int:
    """Returns the maximum number of updates in one compiled call on this machine's devices."""
    return CPU_CALL if jax.default_backend() == "cpu" else ACCELERATOR_CALL


def phase_starts(agents: TrainableAgent, step: int, offline_steps: int) -> dict[str, int]:
    """Returns the offline step at which each phase of the agents starts, by phase name.

    Phases that do not occur in the run are omitted; the result is empty for agents without phases.

    - `agents`: The agents at step `step` of the run. If they were initialised with the agents of another run, the
      updates of that run count towards the phases.
    - `offline_steps`: The number of offline steps of the run.
    """
    if not isinstance(agents, HasPhases) or not agents.phase_starts:
        return {}
    earlier = int(np.max(agents.step)) - step
    ends = [*list(agents.phase_starts.values())[1:], math.inf]
    return {
        name: max(0, start - earlier)
        for (name, start), end in zip(agents.phase_starts.items(), ends, strict=True)
        if end > max(start, earlier) and start - earlier < offline_steps
    }


def updates_in_a_call(
    config: RunConfig,
    step: int = 0,
    at_most: int | None = None,
    *,
    sharded: bool = False,
    starts: Collection[int] = (),
) -> int:
    """Returns the number of updates in a compiled call of the offline phase.

    It is the largest number, up to a limit, that divides every interval of the run, so that no call runs past a step at
    which an event such as an evaluation is due.

    - `step`: The step at which the run starts or resumes. It need not be a multiple of the intervals, because these may
      be changed before a run is resumed.
    - `at_most`: The limit; by default `call_limit()`.
    - `sharded`: Whether the dataset is sharded. If True, the replacement of a shard is also an event.
    - `starts`: The steps at which phases of the agents start.
    """
    replacement = config.replace_interval if sharded else 0
    intervals = (config.log_interval, config.eval_interval, config.save_interval, replacement)
    common = math.gcd(step, config.offline_steps, *intervals, *starts)
    return longest_call(common, call_limit() if at_most is None else at_most)


def _call_limit_of(dataset: Any) -> int:
    """The maximum number of updates in one call: 1 for pixels on a CPU, where convolutions in a loop are slow."""
    return 1 if isinstance(dataset, PixelDataset) and jax.default_backend() == "cpu" else call_limit()


def longest_call(updates: int, at_most: int) -> int:
    """Returns the largest divisor of `updates` that is at most `at_most`."""
    return max(count for count in range(1, at_most + 1) if updates % count == 0)


class OfflinePhase:
    """The offline phase of a run, in which each step is an update on the dataset.

    - `config`: The settings of the run.
    - `step`: The step at which the run starts or resumes.
    - `agents`: The agents, from `floqzoo.learner.build_agents`.
    - `dataset`: The dataset that the batch source samples from. If it is a
      [`ShardedDataset`][floqzoo.tasks.ShardedDataset], the devices hold one shard at a time after `begin`.
    - `batches`: The batch source.
    - `mesh`: The devices.

    Attributes: `steps`, the number of updates in a compiled call; `update`, the scanned update; `dataset`, the dataset
    on the devices, or an excerpt of it if it is sharded; `starts`, the step at which each phase of the agents starts,
    by phase name.

    **Raises** `ValueError` if `config.dataset_replace_interval` is set and the dataset is not sharded.
    """

    def __init__(self, config: RunConfig, step: int, agents: PyTree, dataset: Any, batches: BatchSource, mesh: Mesh):
        require_replaceable(config, dataset)
        self.starts = phase_starts(agents, step, config.offline_steps)
        sharded = isinstance(dataset, ShardedDataset)
        self.update = ScannedUpdate(
            agents,
            config.agent.batch_size,
            updates_in_a_call(config, step, _call_limit_of(dataset), sharded=sharded, starts=self.starts.values()),
            source=batches,
            mesh=mesh,
        )
        self.dataset = self.update.everywhere(excerpt_of(dataset))
        self.steps, self._first = self.update.updates, step
        self._resident = None
        if isinstance(dataset, ShardedDataset):
            self._resident = ResidentShard(
                dataset, config.replace_interval, config.offline_steps, self.update.everywhere
            )

    def compile(self, arrays: PyTree, keys: Key[Array, " seeds"]) -> None:
        """Compiles the update; call it after `begin`."""
        self.update.compile(arrays, self._dataset_at(self._first), keys, 0)

    def begin(self, state: Mapping[str, Any] | None) -> None:
        """Reads the shard for the first step if the dataset is sharded; `state` is ignored."""
        self.prepare(self._first)

    def prepare(self, step: int) -> None:
        """Places the shard that update `step` samples from on the devices, unless it is there already.

        Does nothing if the dataset is not sharded.

        **Raises** `ShardError` if the shard cannot be read.
        """
        self._dataset_at(step)

    def updates_until(self, step: int) -> int:
        """Returns the number of updates of each seed before `step`."""
        return step

    def advance(self, arrays: PyTree, keys: Key[Array, " seeds"], step: int) -> tuple[PyTree, list[ChunkMetrics]]:
        """Runs the updates of the next `steps` steps, starting at `step`; returns the new arrays and the metrics."""
        arrays, metrics = self.update(arrays, self._dataset_at(step), keys, step)
        return arrays, [metrics]

    def close(self) -> None:
        """Ends the process that reads shards, if any."""
        if self._resident is not None:
            self._resident.close()

    def _dataset_at(self, step: int) -> Any:
        return self.dataset if self._resident is None else self._resident.at(step)


class OnlinePhase:
    r"""The online phase of a run. Steps are counted over all environments of a seed, and each step comes with
    `config.utd_ratio` updates.

    The phase proceeds in rounds of one step in every environment. While the environments execute the actions of a
    round, the agents learn from the transitions of all earlier rounds; the updated agents choose the actions of the
    next round. Environment steps and updates thus overlap, but the seed still determines the result. Action chunks are
    executed open loop, and the replay buffer stores each of their steps as a transition.

    - `config`: The settings of the run.
    - `state`: The agents, from `floqzoo.learner.build_agents`, and their update keys.
    - `task`: A task with `make_environment`.
    - `dataset`: A `floqzoo.tasks.Dataset` on the devices, or an object with the same methods.
    - `batches`: The batch source, which samples from the dataset and the replay buffer.
    - `mesh`: The devices.

    Attributes: `steps`, the number of steps in a round, counted over all environments of a seed; `update`, the scanned
    update. The method `begin` adds `exploration`, the environments, and `replay`, the replay buffers.

    **Raises** the same errors as `require_online`.
    """

    def __init__(self, config: RunConfig, state: RunState, task: Any, dataset: Any, batches: BatchSource, mesh: Mesh):
        require_online(config, task)
        self.config, self.dataset, self.batches, self.steps = config, dataset, batches, config.online_environments
        self.updates = self.steps * config.utd_ratio
        self.update = ScannedUpdate(
            state.agents,
            config.agent.batch_size,
            longest_call(self.updates, call_limit()),
            source=batches,
            mesh=mesh,
        )
        slots = min(config.buffer_size, config.online_steps)
        self._empty = lambda: dataset.empty_replay(seeds=config.seeds, slots=slots, environments=self.steps)
        self._explore = lambda: Exploration(
            task.make_environment,
            config.seed_numbers,
            self.steps,
            in_processes=config.online_processes,
            first=first_episodes(state.keys, config.seed_numbers),
        )
        self._parts_rest = split_arrays(state.agents.parts)[1]
        self.open_loop = OpenLoop(state.agents.parts.policy)
        self._keys = self.update.spread(exploration_keys(state.keys))
        self._act = jax.jit(self._drawn_actions)
        self._write = jax.jit(
            lambda replay, new: replay.write(new), donate_argnums=0, out_shardings=self.update.by_seed
        )

    @property
    def bytes(self) -> int:
        """The size of the replay buffers, in bytes."""
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(self._form))

    def begin(self, state: Mapping[str, Any] | None) -> None:
        """Starts the first episodes, or restores the replay buffers and the environments from `state`.

        - `state`: The result of the method `state`; None to start the phase from the beginning.

        **Raises** `ValueError` if `state` does not fit the settings of the run.
        """
        self.exploration = self._explore()
        self.open_loop.restore(_with_prefix("open_loop.", state or {}))
        if state is None:
            self.replay = jax.jit(self._empty, out_shardings=self.update.by_seed)()
            self.exploration.begin()
        else:
            self.replay = self.update.spread(self._stored_replay(_with_prefix("replay.", state)))
            self.exploration.restore(_with_prefix("exploration.", state))

    def prepare(self, step: int) -> None:
        """Does nothing, because the dataset stays on the devices."""

    def compile(self, arrays: PyTree, keys: Key[Array, " seeds"]) -> None:
        """Compiles the update and the policy; call it after `begin`."""
        self.update.compile(arrays, self.dataset, keys, 0, self.replay)
        self._drawn(arrays, self.exploration.observations, 0)

    def advance(self, arrays: PyTree, keys: Key[Array, " seeds"], step: int) -> tuple[PyTree, list[ChunkMetrics]]:
        """Runs the next round, which starts at step `step` of the run; returns the new arrays and the metrics.

        **Raises** `NonFiniteError` if an action is NaN or infinite, and the same errors as `Exploration.step`.
        """
        number = (step - self.config.offline_steps) // self.steps
        actions = self._actions(arrays, 2 * number)
        self._require_finite(actions, number)
        # Dispatched asynchronously: the environments step meanwhile.
        arrays, metrics = self._learn(arrays, keys, number)
        seen = self.exploration.step(actions)
        ended = seen.over.any()
        next_actions = self._first_actions(arrays, seen.next_observation, 2 * number + 1) if ended else actions
        self.replay = self._write(self.replay, self._explored(seen, next_actions))
        return arrays, metrics

    def metrics(self, step: int) -> list[dict[str, float | int]]:
        """Returns the exploration metrics of each seed, and resets the metrics of finished episodes.

        The trainer logs them together with the metrics of the updates.
        """
        explored = step - self.config.offline_steps
        counts = {
            "exploration/environment_steps": explored,
            "exploration/updates": self.updates_until(step) - self.config.offline_steps,
            "exploration/replay_size": int(self.replay.size(self._next_actions).min()),
        }
        return [{**counts, **finished} for finished in self.exploration.finished.take()]

    def updates_until(self, step: int) -> int:
        """Returns the number of updates of each seed before `step`, including the updates of the offline phase."""
        rounds = (step - self.config.offline_steps) // self.steps
        return self.config.offline_steps + max(0, rounds - self._first_round) * self.updates

    def state(self) -> dict[str, Any]:
        """Returns the arrays from which `begin` can restore the current state, by name."""
        explored = {f"exploration.{name}": array for name, array in self.exploration.state().items()}
        explored |= {f"open_loop.{name}": array for name, array in self.open_loop.state().items()}
        return explored | {f"replay.{name}": leaf for name, leaf in named_leaves(self.replay).items()}

    def close(self) -> None:
        """Closes the environments if the phase has begun."""
        if hasattr(self, "exploration"):
            self.exploration.close()

    @cached_property
    def _form(self) -> ReplayBuffer:
        """The replay buffers, with shapes in place of arrays."""
        return jax.eval_shape(self._empty)

    @cached_property
    def _next_actions(self) -> bool:
        """Whether batches have next actions, which the newest transition of an unfinished episode lacks."""
        draw, size = self.batches.draw_batch, self.config.agent.batch_size
        batch = eqx.filter_eval_shape(draw, self.dataset, self._form, jnp.asarray(0), jax.random.key(0), size)
        return batch.next_action is not None

    @cached_property
    def _first_round(self) -> int:
        """The index of the first round that has updates; balanced batches need at least one new transition."""
        wanted = -(-self.config.online_start // self.steps)
        return max(wanted, 1 + self._next_actions) if self.config.balanced_sampling else wanted

    def _stored_replay(self, stored: Mapping[str, np.ndarray]) -> ReplayBuffer:
        """The replay buffers of a checkpoint, enlarged if they have fewer slots and were not full."""
        form = named_leaves(self._form)
        slots = stored["transitions.reward"].shape[1]
        if slots != self._form.transitions.reward.shape[1] and stored["written"].max() > slots:
            raise ValueError(
                f"the smaller of `buffer_size` and `online_steps` must be {slots - self.steps}, since the replay buffer of the "
                f"checkpoint is full; got {self._form.slots}. Restore the previous values."
            )
        leaves = [_grown(name, stored[name], leaf) for name, leaf in form.items()]
        return jax.tree.unflatten(jax.tree.structure(self._form), leaves)

    def _require_finite(self, actions: Float[np.ndarray, "seeds environments action"], number: int) -> None:
        for seed, of_seed in zip(self.config.seed_numbers, actions, strict=True):
            if not np.isfinite(of_seed).all():
                raise NonFiniteError(
                    f"an action of seed {seed} became NaN or infinite in round {number} of online steps."
                )

    def _learn(self, arrays: PyTree, keys: Key[Array, " seeds"], number: int) -> tuple[PyTree, list[ChunkMetrics]]:
        if number < self._first_round:
            return arrays, []
        first, metrics = self.config.offline_steps + number * self.updates, []
        for done in range(0, self.updates, self.update.updates):
            arrays, chunk = self.update(arrays, self.dataset, keys, first + done, self.replay)
            metrics.append(chunk)
        return arrays, metrics

    def _actions(self, arrays: PyTree, draw_number: int) -> Float[np.ndarray, "seeds environments action"]:
        """The next action of each environment, from its current chunk or a new one."""
        steps = self.exploration.steps

        def draw() -> Float[np.ndarray, "rows chunk"]:
            return self._drawn(arrays, self.exploration.observations, draw_number).reshape(steps.size, -1)

        return self.open_loop.actions(np.arange(steps.size), steps.ravel(), draw).reshape(*steps.shape, -1)

    def _first_actions(
        self, arrays: PyTree, observations: Float[np.ndarray, "seeds environments observation"], draw_number: int
    ) -> Float[np.ndarray, "seeds environments action"]:
        """The first actions of new chunks."""
        return self.open_loop.split(self._drawn(arrays, observations, draw_number))[:, :, 0]

    def _drawn(
        self, arrays: PyTree, observations: Float[np.ndarray, "seeds environments observation"], draw_number: int
    ) -> Float[np.ndarray, "seeds environments chunk"]:
        parts = split_arrays(arrays.parts)[0]
        return np.asarray(self._act(parts, self._keys, draw_number, observations))

    def _drawn_actions(self, parts: PyTree, keys: Key[Array, " seeds"], draw: Array, observations: Array) -> Array:
        def of_seed(arrays: PyTree, key: Key[Array, ""], observations: Array) -> Array:
            parts = eqx.combine(arrays, self._parts_rest)
            return jax.vmap(parts.explore)(observations, jax.random.split(jax.random.fold_in(key, draw), self.steps))

        return jax.vmap(of_seed)(parts, keys, observations)

    def _explored(self, seen: Round, next_actions: Float[np.ndarray, "seeds environments action"]) -> ExploredStep:
        dtype = self.replay.transitions.reward.dtype
        arrays = (seen.observation, seen.action, seen.reward, seen.discount, seen.next_observation)
        return ExploredStep(
            Transition(*(jnp.asarray(array, dtype) for array in arrays)),
            over=jnp.asarray(seen.over),
            next_action=jnp.asarray(next_actions, dtype),
        )


def require_online(config: RunConfig, task: Any) -> None:
    """Checks that the online settings of a run fit its task.

    Does nothing for a run without online steps.

    **Raises** `ValueError` if the task has no environment; if its `make_environment` cannot be pickled, although
    `config.online_processes` requires it; if the dataset does not satisfy `HasReplay`; if the replay buffer is to be
    initialised with the dataset but is smaller than the dataset; or if the run trains with several processes.
    """
    if not config.online_steps:
        return
    dataset = task.dataset
    if getattr(task, "make_environment", None) is None:
        raise ValueError(
            f"`online_steps` must be 0 on {config.env_name}, which has no environment to step; got {config.online_steps}."
        )
    if config.online_processes:
        require_picklable(task.make_environment)
    if not isinstance(dataset, HasReplay):
        raise ValueError(
            f"`online_steps` must be 0 with a {type(dataset).__name__}, which has no replay buffer, as a HasReplay has; got "
            f"{config.online_steps}."
        )
    if jax.process_count() > 1:
        raise ValueError(
            "`online_steps` must be 0 with several processes, since online training needs a single one; got "
            f"{config.online_steps}."
        )
    if not config.balanced_sampling and config.buffer_size < dataset.size:
        raise ValueError(
            f"`buffer_size` must be at least {dataset.size:,}, the number of transitions in the dataset that the buffer is "
            f"initialised with; got {config.buffer_size:,}. With `balanced_sampling` the buffer holds new transitions only."
        )


def _grown(name: str, stored: np.ndarray, form: jax.ShapeDtypeStruct) -> np.ndarray:
    """An array, padded with zeros to the given shape."""
    if stored.ndim != form.ndim or stored.dtype != form.dtype or any(map(int.__gt__, stored.shape, form.shape)):
        raise ValueError(
            f"the replay buffer in the checkpoint has `{name}` of {stored.dtype}{list(stored.shape)}, which does not fit into "
            f"{form.dtype}{list(form.shape)}, its size with these settings. Restore the previous ones, such as "
            "`online_steps`."
        )
    whole = np.zeros(form.shape, form.dtype)
    whole[tuple(map(slice, stored.shape))] = stored
    return whole


def _with_prefix(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
