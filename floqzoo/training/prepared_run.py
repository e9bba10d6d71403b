"""A run with its data and its folder, ready to train."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from floqzoo.training.configuration import RunConfig
from floqzoo.training.data import load_task
from floqzoo.training.door import FAILED, USER_ERROR, leave, status_of
from floqzoo.training.loop import train
from floqzoo.training.manifest import DamagedError
from floqzoo.training.metric_mean import NonFiniteError
from floqzoo.training.metric_writer import require_writers
from floqzoo.training.recipe import Recipe, agent_builder
from floqzoo.training.report import report
from floqzoo.training.run_directory import new_run_directory, record_data, record_flags, record_machine
from floqzoo.training.run_store import NoRoomError
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
    """

    recipe: Recipe
    config: RunConfig
    task: LoadedTask
    directory: Path
    resumed: bool = False

    def train(self) -> TrainingResult:
        """Trains, as `floqzoo.training.train` does."""
        task = self.task.loaded
        build = agent_builder(
            self.recipe,
            self.config.agent,
            observation_dim=task.observation_dim,
            action_dim=task.action_dim,
            reward_range=task.reward_range,
            **self.recipe.from_data(task),
        )
        return train(build, self.task.viewed, self.config, self.directory, resumed=self.resumed)


def prepare(recipe: Recipe, config: RunConfig) -> PreparedRun:
    """Loads the data of a new run and makes its folder, with what is known before it begins.

    **Raises** what loading raises, `OSError` if the folder cannot be made, and `ModuleNotFoundError` where a library that
    the settings ask for is not installed.
    """
    require_writers(tensorboard=config.tensorboard, wandb=config.wandb)
    task = loaded_task(recipe, config)
    directory = new_run_directory(config.save_dir, config.run_group, config.seed, config.seeds)
    record_flags(directory, recipe.name, config)
    record_data(directory, task.loaded)
    record_machine(directory)
    return PreparedRun(recipe, config, task, directory)


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
    report(run.recipe, run.config, result, run.directory, run.task.seconds)
    if result.stopped_by is not None:
        leave(
            f"Interrupted after {result.steps:,} updates; metrics and a checkpoint are in {run.directory}. "
            f"To go on: floqzoo resume {run.directory}",
            status_of(result.stopped_by),
        )
    if run.recipe.report is not None:
        for seed in result.seeds:
            run.recipe.report(result.agent(seed), run.task.viewed, run.config, seed, run.directory)
