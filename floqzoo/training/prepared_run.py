"""A run with its data and its folder, ready to train."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Array, PyTree

from floqzoo.training.configuration import RunConfig
from floqzoo.training.data import load_task
from floqzoo.training.door import FAILED, USER_ERROR, leave, status_of
from floqzoo.training.interruption import signal_of
from floqzoo.training.loop import train
from floqzoo.training.manifest import DamagedError
from floqzoo.training.metric_mean import NonFiniteError
from floqzoo.training.metric_writer import require_writers
from floqzoo.training.online_phase import require_online
from floqzoo.training.processes import first_alone, is_first
from floqzoo.training.recipe import Recipe, agent_builder
from floqzoo.training.report import report
from floqzoo.training.run_directory import new_run_directory, record_data, record_flags, record_machine
from floqzoo.training.run_store import NoRoomError
from floqzoo.training.starting_run import StartingRun
from floqzoo.training.training_result import TrainingResult


@dataclass(frozen=True)
class LoadedTask:
    """The task of a run.

    - `loaded`: As it was loaded.
    - `viewed`: As the method sees it.
    - `seconds`: The time that loading took.
    """

    loaded: Any
    viewed: Any
    seconds: float


@dataclass(frozen=True)
class PreparedRun:
    """A run that has everything but training.

    - `resumed`: Whether it goes on from its latest checkpoint.
    - `start`: The run whose agents it begins with, if it does not begin with untrained ones.
    """

    recipe: Recipe
    config: RunConfig
    task: LoadedTask
    directory: Path
    resumed: bool = False
    start: StartingRun | None = None

    def train(self) -> TrainingResult:
        """Trains, as `floqzoo.training.train` does."""
        return train(
            builder(self.recipe, self.config, self.task),
            self.task.viewed,
            self.config,
            self.directory,
            resumed=self.resumed,
            begin_with=self.start.begin_with if self.start else None,
        )


def prepare(recipe: Recipe, config: RunConfig, directory: Path | None = None) -> PreparedRun:
    """Loads the data of a new run and makes its folder, with what is known before it begins.

    - `directory`: The folder, in which there may be no run yet; without it a new one below `config.save_dir`.

    **Raises** what loading raises, `OSError` if the folder cannot be made, and `ModuleNotFoundError` where a library that
    the settings ask for is not installed.
    """
    require_writers(tensorboard=config.tensorboard, wandb=config.wandb)
    with first_alone():
        task = loaded_task(recipe, config)
    start = starting_run(recipe, config, task)
    require_online(config, task.viewed)
    if directory is None:
        directory = made_directory(config)
    if is_first():
        record_flags(directory, recipe.name, config)
        record_data(directory, task.loaded)
        record_machine(directory)
    return PreparedRun(recipe, config, task, directory, start=start)


def builder(recipe: Recipe, config: RunConfig, task: LoadedTask) -> Callable[[Array], PyTree]:
    """Makes an untrained agent of the recipe for a task, from a key."""
    loaded = task.loaded
    return agent_builder(
        recipe,
        config.agent,
        observation_dim=loaded.observation_dim,
        action_dim=loaded.action_dim,
        reward_range=loaded.reward_range,
        **recipe.from_data(loaded),
    )


def starting_run(recipe: Recipe, config: RunConfig, task: LoadedTask) -> StartingRun | None:
    """The run whose agents another one is to begin with.

    **Raises** as `StartingRun` does.
    """
    if not config.start_from:
        return None
    return StartingRun(
        config.start_from, recipe, config, builder(recipe, config, task), task.loaded.dataset.fingerprint()
    )


def made_directory(config: RunConfig) -> Path:
    """The folder of a new run; where there are several processes, the first makes it, and the others need none."""
    if not is_first():
        return Path(config.save_dir)
    return new_run_directory(config.save_dir, config.run_group, config.seed, config.seeds)


def loaded_task(recipe: Recipe, config: RunConfig) -> LoadedTask:
    """Loads the data of a run."""
    start = time.monotonic()
    task = load_task(config)
    viewed = recipe.view(task, config)
    return LoadedTask(task, viewed, time.monotonic() - start)


def carry_out(run: PreparedRun) -> None:
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
    report(run.recipe, run.config, result, run.directory, run.task.seconds)
    if result.stopped_by is not None:
        leave(
            f"Interrupted after {result.steps:,} {run.config.unit}; metrics and a checkpoint are in {run.directory}. "
            f"To go on: floqzoo resume {run.directory}",
            status_of(result.stopped_by),
        )
    if run.recipe.report is not None:
        for seed in result.seeds:
            run.recipe.report(result.agent(seed), run.task.viewed, run.config, seed, run.directory)
