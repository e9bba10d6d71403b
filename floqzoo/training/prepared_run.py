"""Prepares runs: loads the data, builds the agents, creates the run's folder, and trains."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from floqzoo.hyperparameter import Hyperparameter
from floqzoo.learner.devices import first_alone, is_first
from floqzoo.learner.metric_mean import NonFiniteError
from floqzoo.learner.seeds import continued_keys, keys_with_seeds
from floqzoo.protocols import Task
from floqzoo.rollout.evaluation import NORMALISED
from floqzoo.runs.checkpoint import DamagedError
from floqzoo.runs.configuration import RunConfig
from floqzoo.runs.metric_writers import require_writers
from floqzoo.runs.recipe import Recipe, agent_builder
from floqzoo.runs.run_command import run_command
from floqzoo.runs.run_directory import (
    CannotStartError,
    discard,
    new_run_directory,
    record_data,
    record_flags,
    record_machine,
)
from floqzoo.runs.run_store import SUCCESS_METRIC, RunState
from floqzoo.runs.stored_run import StoredRun
from floqzoo.tasks.collect import collect
from floqzoo.tasks.datafile import MEMORY
from floqzoo.tasks.load import OGBenchTask, load
from floqzoo.tasks.names import task_name
from floqzoo.tasks.own_task import is_reference, own_task, task_label
from floqzoo.tasks.sharded_dataset import excerpt_of
from floqzoo.training.cli_errors import FAILED, USER_ERROR, leave, status_of
from floqzoo.training.interruption import signal_of
from floqzoo.training.normalisation import normalising
from floqzoo.training.phases import require_online
from floqzoo.training.pixels import require_pixels
from floqzoo.training.progress import ProgressReport
from floqzoo.training.report import report
from floqzoo.training.resident_shard import require_replaceable
from floqzoo.training.run_evaluations import diagnostic_names, require_environment
from floqzoo.training.trainer import TrainingResult, checkpoint_message, train
from floqzoo.typing import Array


def load_task(config: RunConfig) -> OGBenchTask | Task:
    """Loads the task of a run with its data.

    If `collect_episodes` is above 0, `dataset_path` is None, and OGBench's own file is not in `dataset_dir`, the data
    are collected on this machine rather than downloaded. If `env_name` names your own task, as `FILE.py:NAME` or
    `MODULE:NAME`, the code of the task is executed.

    **Raises** `ValueError` if `sparse_rewards` or `dataset_episodes` is set for your own task, and the same errors as
    `floqzoo.tasks.load`, `floqzoo.tasks.collect` and `floqzoo.tasks.own_task`.
    """
    if is_reference(config.env_name):
        if config.sparse_rewards:
            raise ValueError(
                "`sparse_rewards` must be False for your own task, whose rewards you choose yourself; got True."
            )
        if config.dataset_episodes is not None:
            raise ValueError(
                f"`dataset_episodes` must be None for {task_label(config.env_name)}, since it applies only to a single "
                f"file of OGBench without pixels; got {config.dataset_episodes}."
            )
        return own_task(config.env_name)
    path, name = config.dataset_path, task_name(config.env_name)
    if path is None and config.collect_episodes > 0:
        dataset = name.dataset
        if not (Path(config.dataset_dir).expanduser() / f"{dataset}.npz").exists():
            path = collect_visibly(dataset, episodes=config.collect_episodes, workers=config.collect_workers)
    return load(
        config.env_name,
        dataset_path=path,
        dataset_dir=config.dataset_dir,
        success_timing=config.success_timing,
        frame_stack=config.frame_stack,
        sparse_rewards=config.sparse_rewards,
        dataset_episodes=config.dataset_episodes,
        # Behaviour cloning has no discount.
        goal_discount=getattr(config.agent, "discount", None) if name.goal_conditioned else None,
    )


def collect_visibly(
    name: str, *, episodes: int | None, seed: int = 0, workers: int = 1, directory: str | None = None
) -> Path:
    """Collects data with `floqzoo.tasks.collect` while showing a progress bar; returns the path of the data."""
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
    """An earlier run whose latest checkpoint provides the initial agents of a new run.

    The new agents start with the parameters, target networks and optimiser states of the earlier ones.

    - `directory`: The folder of the earlier run.
    - `recipe`, `config`: The recipe and the settings of the new run.
    - `build`: Builds an untrained agent of the new run.
    - `fingerprint`: The fingerprint of the new run's data.

    Each seed of the new run starts from the earlier run's agent of the same seed. If the earlier run does not have all
    of these seeds, it must have either a single seed, from whose agent all new seeds then start, or as many seeds as
    the new run, in which case its agents are assigned in order. The new seeds still determine batches, noise and
    episodes.

    **Raises** `FileNotFoundError` if there is no such folder; `ValueError` if it is not the folder of a run, if the two
    runs differ in recipe, task, data, `normalize_observations` or the structure of their agents, if the earlier run has
    no checkpoint, or if its seeds cannot be assigned as above.
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
            "task": (task_label(self.run.env_name), task_label(config.env_name)),
            "fingerprint of the data": (self.run.data.get("fingerprint"), fingerprint),
            "`normalize_observations`": (
                self.run.flags.get("normalize_observations", False),
                config.normalize_observations,
            ),
        }
        for name, (theirs, ours) in facts.items():
            if theirs != ours:
                raise ValueError(
                    f"`start_from` must be a run with the same {name}: here it is {ours}, in {directory} {theirs}."
                )
        places = _places(self.seeds, self.run.seeds)
        if places is None:
            raise ValueError(
                f"`start_from` must have the seeds {', '.join(map(str, self.seeds))}, or as many seeds as this run, or a single "
                f"seed; {directory} has the seeds {', '.join(map(str, self.run.seeds))}."
            )
        self.places = places
        if not self.run.checkpoint_steps:
            raise ValueError(f"`start_from` must have a checkpoint; {directory} has none.")
        _require_same_form(build, self.run.builder(recipe))

    def begin_with(self, untrained: RunState) -> RunState:
        """Returns the initial state of the new run: for each seed, the agent that the seed starts from, and a fresh
        update key.

        - `untrained`: The untrained agents of the new run, whose hyperparameters replace those of the earlier run.
        """
        state, agents = self.run.restore(self.recipe).tree, untrained.agents
        theirs = dict(_leaves(state.agents))
        places = np.array(self.places)
        leaves = [jnp.asarray(theirs[name])[places] if eqx.is_array(leaf) else leaf for name, leaf in _leaves(agents)]
        agents = jax.tree.unflatten(jax.tree.structure(agents, is_leaf=_is_hyperparameter), leaves)
        theirs_at = [self.run.seeds[place] for place in self.places]
        keys = continued_keys(state.keys[places])
        return RunState(agents, keys if theirs_at == list(self.seeds) else keys_with_seeds(keys, self.seeds))


def _places(seeds: Sequence[int], theirs: Sequence[int]) -> list[int] | None:
    """The index of the agent that each seed starts from; None if there is no such assignment."""
    if set(seeds) <= set(theirs):
        return [theirs.index(seed) for seed in seeds]
    if len(theirs) == 1:
        return [0] * len(seeds)
    return list(range(len(seeds))) if len(theirs) == len(seeds) else None


def _require_same_form(build: Callable[[Array], PyTree], their_build: Callable[[Array], PyTree]) -> None:
    ours, theirs = (dict(_leaves(eqx.filter_eval_shape(make, jax.random.key(0)))) for make in (build, their_build))
    for name, leaf in ours.items():
        if isinstance(leaf, jax.ShapeDtypeStruct) and _form(theirs.get(name)) != _form(leaf):
            raise ValueError(
                f"`start_from` must have agents of the same form as this run: their `{name}` must be {_form(leaf)}; "
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

    - `recipe`, `config`: The recipe and the settings of the run.
    - `task`: The task, with its data.
    - `build`: Builds an untrained agent from a key.
    - `directory`: The folder of the run.
    - `data_seconds`: The time in seconds that it took to load the task.
    - `resumed`: Whether the run continues from its latest checkpoint.
    - `start`: The earlier run that provides the initial agents; None if the agents start untrained.
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
        """Trains the agents with `floqzoo.training.train`, and returns its result.

        **Raises** the same errors as `floqzoo.training.train`.
        """
        to_task = self.recipe.to_task
        return train(
            self.build,
            self.task,
            self.config,
            self.directory,
            resumed=self.resumed,
            begin_with=self.start.begin_with if self.start else None,
            batch_source=self.recipe.batch_source,
            to_task=None if to_task is None else lambda agent: to_task(agent, self.task, self.config),
        )


def prepare(recipe: Recipe, config: RunConfig, directory: Path | None = None) -> PreparedRun:
    """Loads the data of a new run, and creates its folder with a record of the data, the machine and the settings.

    - `directory`: An existing folder that contains no run; by default a new folder below `config.save_dir`.

    **Raises** the same errors as `load_task` and `starting_run`; `ValueError` if the settings do not fit the task;
    `OSError` if the folder cannot be created; `ModuleNotFoundError` if a library that the settings require is not
    installed.
    """
    require_writers(tensorboard=config.tensorboard, wandb=config.wandb)
    if config.start_from:
        StoredRun(config.start_from)  # raises if it is no run, before any data are downloaded
    with first_alone():
        task, seconds = timed_task(config)
    require_pixels(config, task)
    build = builder(recipe, config, task)
    # The agent is validated for this task before the folder is created.
    form = require_agents_fit(build, config.seeds)
    start = starting_run(recipe, config, task, build)
    require_online(config, task)
    require_environment(config, getattr(task, "make_environment", None))
    batches, data = recipe.batch_source(config, False), excerpt_of(task.dataset)
    key, size = jax.random.key(0), config.agent.batch_size
    eqx.filter_eval_shape(batches.draw_batch, data, None, jnp.asarray(0), key, size)  # raises if they do not fit
    _require_score(config, task, lambda: diagnostic_names(form.parts, data, batches))
    require_replaceable(config, task.dataset)
    if directory is None:
        directory = made_directory(recipe, config)
    if is_first():
        record_flags(directory, recipe.name, config)
        record_data(directory, task)
        record_machine(directory)
    return PreparedRun(recipe, config, task, build, directory, seconds, start=start)


def require_agents_fit(build: Callable[[Array], PyTree], seeds: int) -> PyTree:
    """Checks that the agents of all seeds fit into the memory of this machine.

    Returns the agent of one seed, with `jax.ShapeDtypeStruct`s in place of arrays.

    - `build`: Builds an untrained agent from a key.
    - `seeds`: The number of seeds.

    **Raises** `ValueError` if the agents are larger than the memory.
    """
    agent = eqx.filter_eval_shape(build, jax.random.key(0))
    leaves = [leaf for leaf in jax.tree.leaves(agent) if isinstance(leaf, jax.ShapeDtypeStruct)]
    size = seeds * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    if size > MEMORY:
        raise ValueError(
            f"the agents must fit into the memory of this machine, {MEMORY / 1e9:,.1f} GB; parameters, targets and optimiser "
            f"states take {size / 1e9:,.1f} GB. Choose smaller networks, or fewer `seeds`."
        )
    return agent


def _require_score(config: RunConfig, task: Task, diagnostics: Callable[[], Sequence[str]]) -> None:
    """**Raises** `ValueError` if evaluations on the task do not report the metric `config.best_metric`."""
    metric = config.best_metric or ""
    if metric.startswith("diagnostics/") and metric not in (names := diagnostics()):
        known = f"only the diagnostics {', '.join(names)}" if names else "no diagnostics"
        raise ValueError(f"`best_metric` must not be {metric}; the critic has {known}.")
    # A task without the attribute `success_key` may still report success.
    lacks = {
        SUCCESS_METRIC: (getattr(task, "success_key", "unknown"), "reports no success"),
        f"evaluation/{NORMALISED}": (getattr(task, "reference_returns", None), "has no `reference_returns`"),
    }
    value, reason = lacks.get(metric, ("", ""))
    if value is None:
        raise ValueError(f"`best_metric` must not be {metric} on {config.env_name}, which {reason}.")


def builder(recipe: Recipe, config: RunConfig, task: Task) -> Callable[[Array], PyTree]:
    """Returns a function that maps a key to an untrained agent of the recipe for a task.

    **Raises** `ValueError` if `config.normalize_observations` is set, but the dataset has no `observations`.
    """
    build = agent_builder(
        recipe,
        config.agent,
        observation_dim=task.observation_dim,
        action_dim=task.action_dim,
        reward_range=task.reward_range,
        **recipe.from_data(task, config),
    )
    return normalising(build, config, task)


def starting_run(recipe: Recipe, config: RunConfig, task: Task, build: Callable[[Array], PyTree]) -> StartingRun | None:
    """Returns the earlier run that `config.start_from` names; None if `start_from` is empty.

    **Raises** the same errors as `StartingRun`.
    """
    if not config.start_from:
        return None
    return StartingRun(config.start_from, recipe, config, build, task.dataset.fingerprint())


def made_directory(recipe: Recipe, config: RunConfig) -> Path:
    """Creates the folder of a new run, and returns its path.

    With several processes, only the first one creates a folder. For the others, the function returns
    `config.save_dir`, to which they do not write.
    """
    if not is_first():
        return Path(config.save_dir)
    return new_run_directory(config.save_dir, config.run_group, recipe.name, config.seed, config.seeds)


def timed_task(config: RunConfig, task: Task | None = None) -> tuple[Task, float]:
    """Loads the task of a run; returns the task and the loading time in seconds.

    - `task`: The task, if it has been loaded already.
    """
    start = time.monotonic()
    task = task or load_task(config)
    return task, time.monotonic() - start


def run_and_report(run: PreparedRun) -> None:
    """Trains a run, then prints a table of results, draws the learning curve and calls the recipe's `report`.

    Exits with status 1 if a metric, a parameter or an action becomes NaN or infinite, or if a file cannot be read or
    written; with status 2 if the run cannot start (the folder of a new run is then removed), is damaged, or is in use
    by another process; with status 130 after Ctrl-C, and with 143 after SIGTERM. In each case, a one-line message
    explains why.
    """
    try:
        result = run.train()
    except CannotStartError as error:
        if is_first() and not run.resumed:
            discard(run.directory)
        leave(f"error: {error}", USER_ERROR)
    except (DamagedError, BlockingIOError) as error:
        leave(f"error: {error}", USER_ERROR)
    except (NonFiniteError, OSError) as error:
        leave(f"error: {error}", FAILED)
    except KeyboardInterrupt as interrupt:
        leave(
            f"The run was stopped at once, during an update. {checkpoint_message(run.directory)} "
            f"To resume: {run_command('resume', run.directory)}",
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
            f"To resume: {run_command('resume', run.directory)}",
            status_of(result.stopped_by),
        )
    if run.recipe.report is not None:
        for seed in result.seeds:
            run.recipe.report(result.agent(seed), run.task, run.config, seed, run.directory)
