"""A run with its data and its directory, ready to train."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from floqzoo.hyperparameter import Hyperparameter
from floqzoo.learner.devices import first_alone, is_first
from floqzoo.learner.metric_mean import NonFiniteError
from floqzoo.learner.seeds import keys_that_go_on
from floqzoo.protocols import Task
from floqzoo.runs.checkpoint import DamagedError
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.metric_writers import require_writers
from floqzoo.runs.recipe import Recipe, agent_builder
from floqzoo.runs.run_directory import new_run_directory, record_data, record_flags, record_machine
from floqzoo.runs.run_store import NoRoomError, RunState
from floqzoo.runs.stored_run import StoredRun
from floqzoo.tasks.collect import collect
from floqzoo.tasks.dataset import Dataset
from floqzoo.tasks.layouts import summarise
from floqzoo.tasks.load import Task as OGBenchTask, load
from floqzoo.tasks.names import task_name
from floqzoo.tasks.own_task import is_reference, own_task, task_label
from floqzoo.tasks.sharded_dataset import ShardedDataset
from floqzoo.training.cli_errors import FAILED, USER_ERROR, leave, status_of
from floqzoo.training.interruption import signal_of
from floqzoo.training.phases import require_online
from floqzoo.training.progress import ProgressReport
from floqzoo.training.report import report
from floqzoo.training.resident_shard import require_replaceable
from floqzoo.training.trainer import TrainingResult, train


def load_task(config: RunConfig) -> OGBenchTask | Task:
    """Loads the task of a run; collects its data if the config asks for it and there is no official file.

    The code of your own task, `FILE.py:NAME` or `MODULE:NAME`, is executed, and a summary of its data is printed.

    **Raises** what `floqzoo.tasks.load` and `floqzoo.tasks.collect` raise.
    """
    if is_reference(config.env_name):
        task = own_task(config.env_name)
        if isinstance(task.dataset, Dataset):
            print(f"{task_label(config.env_name)}\n{summarise(task.dataset)}", file=sys.stderr)
        return task
    path = config.dataset_path
    if path is None and config.collect_episodes > 0:
        dataset = task_name(config.env_name).dataset
        if not (Path(config.dataset_dir).expanduser() / f"{dataset}.npz").exists():
            path = collect_visibly(dataset, episodes=config.collect_episodes, workers=config.collect_workers)
    return load(
        config.env_name,
        dataset_path=path,
        dataset_dir=config.dataset_dir,
        success_timing=config.success_timing,
    )


def collect_visibly(
    name: str, *, episodes: int | None, seed: int = 0, workers: int = 1, directory: str | None = None
) -> Path:
    """`floqzoo.tasks.collect` with a progress bar."""
    with ProgressReport("collecting", "episodes") as progress:
        return collect(
            name,
            episodes=episodes,
            seed=seed,
            workers=workers,
            directory=directory,
            progress=lambda done, total, steps: progress.update(done, total, f"{steps:,} steps"),
        )


class StartingRun:
    """A run whose latest checkpoint provides the initial agents of a new run: parameters, target networks and optimiser
    states.

    - `directory`: The folder of the run.
    - `recipe`, `config`: The recipe and the config of the new run.
    - `build`: Builds an untrained agent of the new run.
    - `fingerprint`: The fingerprint of its data.

    **Raises** `FileNotFoundError` if there is no such folder, `ValueError` if it is not a run of the same recipe on the
    same task and data, lacks a seed or a checkpoint, or has agents of another structure.
    """

    def __init__(
        self,
        directory: str | Path,
        recipe: Recipe,
        config: RunConfig,
        build: Callable[[Array], PyTree],
        fingerprint: str,
    ):
        self.run, self.recipe, self.seeds = StoredRun(directory), recipe, config.seed_numbers
        facts = {
            "recipe": (self.run.recipe_name, recipe.name),
            "task": (self.run.env_name, config.env_name),
            "data": (self.run.data.get("fingerprint"), fingerprint),
        }
        for name, (theirs, ours) in facts.items():
            if theirs != ours:
                raise ValueError(f"`start_from` must be a run of the same {name}, {ours}; {directory} has {theirs}.")
        missing = sorted(set(self.seeds) - set(self.run.seeds))
        if missing:
            raise ValueError(
                f"`start_from` must have seed {missing[0]}; {directory} has {', '.join(map(str, self.run.seeds))}."
            )
        if not self.run.checkpoint_steps:
            raise ValueError(f"`start_from` must have a checkpoint; {directory} has none.")
        _require_same_form(build, self.run.builder(recipe))

    def begin_with(self, untrained: RunState) -> RunState:
        """The agents of the run, with the hyperparameters of the untrained agents and fresh update keys."""
        state, agents = self.run.restore(self.recipe).tree, untrained.agents
        theirs = dict(_leaves(state.agents))
        places = np.array([self.run.seeds.index(seed) for seed in self.seeds])
        leaves = [jnp.asarray(theirs[name])[places] if eqx.is_array(leaf) else leaf for name, leaf in _leaves(agents)]
        agents = jax.tree.unflatten(jax.tree.structure(agents, is_leaf=_is_hyperparameter), leaves)
        return RunState(agents, keys_that_go_on(state.keys[places]))


def _require_same_form(build: Callable[[Array], PyTree], their_build: Callable[[Array], PyTree]) -> None:
    ours, theirs = (dict(_leaves(eqx.filter_eval_shape(make, jax.random.key(0)))) for make in (build, their_build))
    for name, leaf in ours.items():
        if isinstance(leaf, jax.ShapeDtypeStruct) and _form(theirs.get(name)) != _form(leaf):
            raise ValueError(
                f"`start_from` must have agents of the same form: `{name}` must be {_form(leaf)}; "
                f"it is {_form(theirs.get(name))}."
            )


def _form(leaf: PyTree) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}" if isinstance(leaf, jax.ShapeDtypeStruct) else "not there"


def _leaves(tree: PyTree) -> list[tuple[str, PyTree]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_hyperparameter)
    return [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in leaves]


def _is_hyperparameter(node: PyTree) -> bool:
    return isinstance(node, Hyperparameter)


@dataclass(frozen=True)
class PreparedRun:
    """A run with its task and its directory, ready to train.

    - `task`: The task; loading it took `data_seconds`.
    - `build`: Builds an untrained agent from a key.
    - `resumed`: Whether it continues from its latest checkpoint.
    - `start`: The run whose agents are the initial ones; None for untrained agents.
    """

    recipe: Recipe
    config: RunConfig
    task: Task
    build: Callable[[Array], PyTree]
    directory: Path
    data_seconds: float = 0.0
    resumed: bool = False
    start: StartingRun | None = None

    def train(self) -> TrainingResult:
        """Trains, as `floqzoo.training.train` does."""
        return train(
            self.build,
            self.task,
            self.config,
            self.directory,
            resumed=self.resumed,
            begin_with=self.start.begin_with if self.start else None,
            batch_source=self.recipe.batch_source,
        )


def prepare(recipe: Recipe, config: RunConfig, directory: Path | None = None) -> PreparedRun:
    """Loads the data of a new run and creates its folder, with the records of data, machine and settings.

    - `directory`: The folder, which must not contain a run; by default a new folder below `config.save_dir`.

    **Raises** what loading raises, `OSError` if the folder cannot be created, and `ModuleNotFoundError` if a library
    that the settings require is not installed.
    """
    require_writers(tensorboard=config.tensorboard, wandb=config.wandb)
    with first_alone():
        task, seconds = timed_task(config)
    build = builder(recipe, config, task)
    # The agent is validated for this task before the folder is created.
    eqx.filter_eval_shape(build, jax.random.key(0))
    start = starting_run(recipe, config, task, build)
    require_online(config, task)
    require_replaceable(config, task.dataset)
    if directory is None:
        directory = made_directory(config)
    if is_first():
        record_flags(directory, recipe.name, config)
        record_data(directory, task)
        record_machine(directory)
    return PreparedRun(recipe, config, task, build, directory, seconds, start=start)


def builder(recipe: Recipe, config: RunConfig, task: Task) -> Callable[[Array], PyTree]:
    """A function from a key to an untrained agent of the recipe for a task."""
    return agent_builder(
        recipe,
        config.agent,
        observation_dim=task.observation_dim,
        action_dim=task.action_dim,
        reward_range=task.reward_range,
        **recipe.from_data(task, config),
    )


def starting_run(recipe: Recipe, config: RunConfig, task: Task, build: Callable[[Array], PyTree]) -> StartingRun | None:
    """The run that `config.start_from` names; None if there is none.

    **Raises** as `StartingRun` does.
    """
    if not config.start_from:
        return None
    return StartingRun(config.start_from, recipe, config, build, task.dataset.fingerprint())


def made_directory(config: RunConfig) -> Path:
    """Creates the folder of a new run; with several processes only the first creates and uses it."""
    if not is_first():
        return Path(config.save_dir)
    return new_run_directory(config.save_dir, config.run_group, config.seed, config.seeds)


def timed_task(config: RunConfig, task: Task | None = None) -> tuple[Task, float]:
    """Loads the task of a run, unless it is given, and measures the loading time in seconds; prints its shards, if any."""
    start = time.monotonic()
    task = task or load_task(config)
    seconds = time.monotonic() - start
    if isinstance(task.dataset, ShardedDataset):
        print(f"{task.dataset}, for {config.replace_interval:,} updates", file=sys.stderr)
    return task, seconds


def run_and_report(run: PreparedRun) -> None:
    """Trains, prints a table, draws the learning curve and calls the recipe's `report`.

    Exits with status 1 if numbers became NaN or infinite or could not be written, 2 if the run to resume is damaged, in
    use or out of disk space, 130 after Ctrl-C and 143 after SIGTERM, each with a one-line message.
    """
    try:
        result = run.train()
    except (DamagedError, BlockingIOError, NoRoomError) as error:
        leave(f"error: {error}", USER_ERROR)
    except (NonFiniteError, OSError) as error:
        leave(f"error: {error}", FAILED)
    except KeyboardInterrupt as interrupt:
        leave(
            f"Stopped at once, during an update; {run.directory} has its latest checkpoint. "
            f"To resume: floqzoo resume {run.directory}",
            status_of(signal_of(interrupt)),
        )
    if not is_first():
        if result.stopped_by is not None:
            raise SystemExit(status_of(result.stopped_by))
        return
    report(run.recipe, run.config, result, run.directory, run.data_seconds)
    if result.stopped_by is not None:
        leave(
            f"Interrupted after {result.steps:,} {run.config.unit}; metrics and a checkpoint are in {run.directory}. "
            f"To resume: floqzoo resume {run.directory}",
            status_of(result.stopped_by),
        )
    if run.recipe.report is not None:
        for seed in result.seeds:
            run.recipe.report(result.agent(seed), run.task, run.config, seed, run.directory)
