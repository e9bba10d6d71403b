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
from floqzoo.training.cli_errors import FAILED, USER_ERROR, leave, status_of
from floqzoo.training.interruption import signal_of
from floqzoo.training.phases import require_online
from floqzoo.training.progress import ProgressReport
from floqzoo.training.report import report
from floqzoo.training.trainer import TrainingResult, train


def load_task(config: RunConfig) -> OGBenchTask | Task:
    """Loads the task of a run, and collects its data where the config says so and no official file is at hand.

    A task of one's own, `FILE.py:NAME` or `MODULE:NAME`, is executed, and its data are summarised.

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
    """A run whose agents another one begins with: their parameters, targets and optimisers, as its latest checkpoint has
    them.

    - `directory`: The folder of the run.
    - `recipe`, `config`: Those of the run that is to begin.
    - `build`: Makes an untrained agent of that.
    - `fingerprint`: Of its data.

    **Raises** `FileNotFoundError` if there is no such folder, `ValueError` if it is no run of the same recipe on the same
    task and data, lacks a seed or a checkpoint, or has agents of another form.
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
        """The agents of the run, with the hyperparameters of the untrained ones, which may be others, and keys that it has
        not used."""
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
    """A run that has everything but training.

    - `task`: The task; loading it took `data_seconds`.
    - `build`: Makes an untrained agent from a key.
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
    """Loads the data of a new run and makes its folder, with what is known before it begins.

    - `directory`: The folder, in which there may be no run yet; without it a new one below `config.save_dir`.

    **Raises** what loading raises, `OSError` if the folder cannot be made, and `ModuleNotFoundError` where a library that
    the settings ask for is not installed.
    """
    require_writers(tensorboard=config.tensorboard, wandb=config.wandb)
    with first_alone():
        task, seconds = timed_task(config)
    build = builder(recipe, config, task)
    # What the agent refuses of this task is refused before there is a folder.
    eqx.filter_eval_shape(build, jax.random.key(0))
    start = starting_run(recipe, config, task, build)
    require_online(config, task)
    if directory is None:
        directory = made_directory(config)
    if is_first():
        record_flags(directory, recipe.name, config)
        record_data(directory, task)
        record_machine(directory)
    return PreparedRun(recipe, config, task, build, directory, seconds, start=start)


def builder(recipe: Recipe, config: RunConfig, task: Task) -> Callable[[Array], PyTree]:
    """Makes an untrained agent of the recipe for a task, from a key."""
    return agent_builder(
        recipe,
        config.agent,
        observation_dim=task.observation_dim,
        action_dim=task.action_dim,
        reward_range=task.reward_range,
        **recipe.from_data(task, config),
    )


def starting_run(recipe: Recipe, config: RunConfig, task: Task, build: Callable[[Array], PyTree]) -> StartingRun | None:
    """The run whose agents another one is to begin with.

    **Raises** as `StartingRun` does.
    """
    if not config.start_from:
        return None
    return StartingRun(config.start_from, recipe, config, build, task.dataset.fingerprint())


def made_directory(config: RunConfig) -> Path:
    """The folder of a new run; where there are several processes, the first makes it, and the others need none."""
    if not is_first():
        return Path(config.save_dir)
    return new_run_directory(config.save_dir, config.run_group, config.seed, config.seeds)


def timed_task(config: RunConfig, task: Task | None = None) -> tuple[Task, float]:
    """Loads the task of a run, unless it is given, and measures the seconds that it takes."""
    start = time.monotonic()
    return task or load_task(config), time.monotonic() - start


def run_and_report(run: PreparedRun) -> None:
    """Trains, prints a table, draws the learning curve and whatever else the recipe reports.

    Ends the program with status 1 where numbers became NaN or infinite or could not be written, 2 where what
    is to be resumed is damaged or in use or has no room, 130 after Ctrl-C and
    143 after SIGTERM, each with one line that says so.
    """
    try:
        result = run.train()
    except (DamagedError, BlockingIOError, NoRoomError) as error:
        leave(f"error: {error}", USER_ERROR)
    except (NonFiniteError, OSError) as error:
        leave(f"error: {error}", FAILED)
    except KeyboardInterrupt as interrupt:
        leave(
            f"Stopped at once, in the midst of an update; {run.directory} is as its latest checkpoint has it. "
            f"To go on: floqzoo resume {run.directory}",
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
            f"To go on: floqzoo resume {run.directory}",
            status_of(result.stopped_by),
        )
    if run.recipe.report is not None:
        for seed in result.seeds:
            run.recipe.report(result.agent(seed), run.task, run.config, seed, run.directory)
